"""How hard each patch is: ids and arrays of scores only, no pixels, no networks."""
