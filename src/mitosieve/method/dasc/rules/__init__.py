"""What DASC says of a label by its numbers: ids and numbers only, no pixels, no networks."""
