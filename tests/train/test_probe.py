"""A probe finds what tells sources apart, by cases it has not seen, and nothing where there is nothing."""

import numpy as np
import pytest

from mitosieve.errors import TrainingError
from mitosieve.train.probe import probe_source


def a_set(sources=3, cases=6, each=20, apart=0.0, of_case=0.0, seed=0):
    generator = np.random.default_rng(seed)
    case = np.repeat(np.arange(sources * cases), each)
    source = case // cases
    features = generator.normal(size=(len(case), 5))
    features[:, :sources] += apart * np.eye(sources)[source]
    features += of_case * generator.normal(size=(sources * cases, 5))[case]
    return features, source.astype(str), case.astype(str)


def test_sources_far_apart_are_told_and_equal_ones_are_not():
    """Near 1 where sources differ by far, near chance where they do not, also where cases differ."""
    told = probe_source(*a_set(apart=8.0), np.random.default_rng(1))
    assert told.accuracy > 0.98
    assert told.chance == pytest.approx(1 / 3)
    assert abs(probe_source(*a_set(), np.random.default_rng(1)).accuracy - 1 / 3) < 0.1
    by_case = np.mean([probe_source(*a_set(of_case=5.0, seed=s), np.random.default_rng(s)).accuracy for s in range(8)])
    assert abs(by_case - 1 / 3) < 0.15


def test_many_features_are_projected_and_few_cases_left_out():
    """A probe of a thousand features still tells; a source of two cases is not asked about."""
    features, source, case = a_set(apart=8.0)
    wide = np.concatenate([features, np.random.default_rng(3).normal(size=(len(features), 200))], axis=1)
    source = np.where(np.isin(case, ["0", "1"]), "rare", source)
    assert probe_source(wide, source, case, np.random.default_rng(1)).sources == ("0", "1", "2")
    with pytest.raises(TrainingError, match="two sources"):
        probe_source(features, np.full(len(features), "a"), case, np.random.default_rng(1))
