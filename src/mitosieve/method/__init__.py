"""The methods, a folder each."""
