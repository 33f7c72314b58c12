"""How a patch is varied: fixed variants, distortions, colour."""
