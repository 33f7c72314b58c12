"""Places worth a patch, and the pixels there."""
