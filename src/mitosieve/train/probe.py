"""How well the source of a patch can be told: what a network can tell, it can use in place of what the cell shows."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mitosieve.errors import TrainingError

FOLDS = 3
COLUMNS = 64
"""Features that the probe sees: of more, fixed random projections, so that many do not tell more for being many."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a probe found.

    Attributes:
        accuracy: mean over the sources of the share of their patches that it gives to them, on cases it has not seen.
        chance: the same of a guess, 1 / sources.
        sources: those it was asked about, sorted; others have too few cases.
    """

    accuracy: float
    chance: float
    sources: tuple[str, ...]


def probe_source(
    features: NDArray[np.floating], source: NDArray[np.str_], case: NDArray[np.str_], generator: np.random.Generator
) -> Probe:
    """Ask a logistic regression for the source of patches, cross-validated by case.

    Args:
        features: (N, D) of patches.
        source: (N,) their sources; those of fewer than FOLDS cases are left out, for nothing is left to test them on.
        case: (N,) their patients.
        generator: for the order of cases and the projection.

    Raises:
        TrainingError: fewer than two sources have enough cases.
    """
    names = [str(name) for name in np.unique(source) if len(np.unique(case[source == name])) >= FOLDS]
    if len(names) < 2:
        raise TrainingError(
            f"a probe needs two sources of {FOLDS} or more cases, and there is {', '.join(names) or 'none'}",
            remedy="add slides of another source",
        )
    kept = np.isin(source, names)
    x, y, group = features[kept], source[kept], case[kept]
    if x.shape[1] > COLUMNS:
        x = x @ generator.normal(size=(x.shape[1], COLUMNS)) / np.sqrt(x.shape[1])
    folds = StratifiedGroupKFold(n_splits=FOLDS, shuffle=True, random_state=int(generator.integers(2**31)))
    told = np.empty_like(y)
    for train, test in folds.split(x, y, group):
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
        told[test] = model.fit(x[train], y[train]).predict(x[test])
    accuracy = float(balanced_accuracy_score(y, told))
    return Probe(accuracy=accuracy, chance=1 / len(names), sources=tuple(names))
