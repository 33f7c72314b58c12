"""What mining keeps, at its border."""

import numpy as np

from mitosieve.method.cascade.mining import screening_table


def test_a_score_at_the_mining_threshold_is_not_mined():
    """Kept is what exceeds the threshold, as section 3.1.1 says."""
    table = screening_table(np.array([0.2, 0.3]), np.array([0.2, 0.1, 0.9]), 0.2)
    assert (table["TP"], table["FN"], table["FP"], table["TN"]) == (1, 1, 1, 2)
