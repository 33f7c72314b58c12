"""Which training labels to look at again: ranking, page, points for QuPath, corrections back."""
