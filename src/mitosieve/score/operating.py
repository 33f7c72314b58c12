"""Named operating points: the thresholds of the largest F-measures that weigh recall more, as much, and less.

Not of a wanted recall: whether 0.90 can be had at all hangs on the proposer, and at what price on the detector; an
F-measure always has a largest value, and the three thresholds never change their order.
"""

from mitosieve.score.sweep import Sweep, Threshold, best_threshold

BETAS = {"balanced": 1.0, "sensitive": 2.0, "specific": 0.5}
"""Recall counts as beta times as important as precision.

Source: van Rijsbergen, Information Retrieval (1979), chapter 7; 2 and 0.5 are his customary companions of 1.
"""


def operating_points(curve: Sweep) -> dict[str, Threshold]:
    """The threshold of each name in BETAS, and what it gave where it was chosen: sensitive <= balanced <= specific.

    With n detections kept, F_beta is (1 + beta^2) TP / (beta^2 P + n): a larger beta never prefers fewer detections.

    Args:
        curve: of out-of-fold detections of all training cases, pooled.
    """
    return {name: best_threshold(curve, beta) for name, beta in BETAS.items()}
