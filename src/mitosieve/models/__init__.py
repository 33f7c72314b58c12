"""The detectors that come with the package, a folder each, and their cards. Knows nothing of networks.

`mitosieve.sieve.detector` loads them, `bench/ship.py` puts them here.
"""
