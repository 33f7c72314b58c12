"""Cases, slides and marks as a folder a person can read and edit; splits; one importer per public format."""
