"""The published methods, each reading from top to bottom like its paper."""
