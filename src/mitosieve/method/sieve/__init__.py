"""Sieve: one detector of the three methods together, judged and set by networks that have not seen the patient."""
