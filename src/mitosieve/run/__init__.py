"""One run on disk: whole files, lock, provenance; time and progress."""
