"""Data sets of the literature: what they are, whether a user's copy is whole, and the splits they are compared on."""
