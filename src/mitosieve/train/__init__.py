"""Training: what is learned from, the loop, what is kept."""
