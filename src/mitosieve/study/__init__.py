"""Studies: many trainings compared in one table and one page, from one file."""
