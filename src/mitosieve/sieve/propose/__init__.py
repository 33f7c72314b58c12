"""Which places of a slide are worth a network's look."""
