"""Networks, one a file, and per-sample losses. Knows tensors only: no slides, no patches, no averaging."""
