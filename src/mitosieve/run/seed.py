"""The one law of random numbers: a stream for every (seed, purpose, counters), independent of all others."""

import hashlib

import numpy as np


def derive_generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """The generator of one consumer: independent streams for every (seed, purpose, counters).

    Counters are as long for all uses of a purpose: a missing last counter is the same as a 0.
    """
    word = int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng([seed, word, *counters])
