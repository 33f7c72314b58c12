"""Synthetic H&E slides whose every cell is known: figures, imposters, planted label noise, scanners.

For checking that training, mining and scoring do what they say; knows nothing of patches, networks or scores.
Scores on a phantom are never quoted as accuracy.
"""

from mitosieve.phantom.cell import Kind
from mitosieve.phantom.making import make_phantom
from mitosieve.phantom.plan import PhantomConfig
from mitosieve.phantom.truth import Noise, PhantomTruth, read_truth

__all__ = ["make_phantom", "PhantomConfig", "read_truth", "PhantomTruth", "Noise", "Kind"]
