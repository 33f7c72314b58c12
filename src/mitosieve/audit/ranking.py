"""Rankings of labels by how probably they are wrong, and how much two rankings agree. Knows labels and probabilities.

The rivals that an audit is compared with: the loss over a training, and cleanlab's confident learning.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from scipy.stats import rankdata

LEAST_PROBABILITY = 2.0**-24
"""What a probability of 0 is taken for in a loss: the smallest of float16, in which histories are kept."""


@dataclass(frozen=True, kw_only=True)
class RankOverlap:
    """How much two rankings of the same labels agree.

    Attributes:
        spearman: rank correlation over all labels, ties by mean rank; None where one of the two knows no order.
        shared: how many labels are among the first `top` of both.
        top: of each ranking.
    """

    spearman: float | None
    shared: int
    top: int


def mean_confidence(history: NDArray[np.floating], *, last: float = 1.0) -> NDArray[np.float64]:
    """(N,) mean p(y) over the last share of a history, rounded up to whole epochs; NaN where never visited in them.

    Args:
        history: (E, N) p(y) by epoch; NaN where not visited.
        last: share of the epochs, 0..1.
    """
    part = history[len(history) - math.ceil(len(history) * last) :].astype(np.float64)
    return _mean(part)


def mean_loss(history: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) mean of -log p(y) over the visited epochs of a (E, N) history, nats; NaN where never visited."""
    return _mean(-np.log(np.maximum(history.astype(np.float64), LEAST_PROBABILITY)))


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    seen = np.isfinite(values)
    total = np.where(seen, values, 0.0).sum(axis=0)
    count = seen.sum(axis=0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)


def cleanlab_verdict(
    label: NDArray[np.integer], figure: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What cleanlab finds wrong, with its own defaults (prune by noise rate; quality is the self-confidence).

    Where a class has a single sample cleanlab leaves it out of what it prunes. Of one class alone nothing can be said:
    no issue is found.

    Args:
        label: (N,) 1 for a mitotic figure, else 0.
        figure: (N,) out-of-fold probability of "mitotic figure".

    Returns:
        (N,) whether it is an issue, and (N,) label quality, 0 bad to 1 good.

    Source:
        cleanlab.filter.find_label_issues and cleanlab.rank.get_label_quality_scores; Northcutt, Jiang, Chuang,
        Confident learning, JAIR 2021.
    """
    p = np.column_stack([1 - figure.astype(np.float64), figure.astype(np.float64)])
    y = label.astype(np.int64)
    quality = np.asarray(get_label_quality_scores(y, p), dtype=np.float64)
    if len(np.unique(y)) < 2:
        return np.zeros(len(y), dtype=np.bool_), quality
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")  # said in the docstring
        issue = np.asarray(find_label_issues(y, p, n_jobs=1), dtype=np.bool_)
    return issue, quality


def rank_overlap(first: NDArray[np.floating], second: NDArray[np.floating], *, top: int) -> RankOverlap:
    """How much two rankings agree; both (N,), the higher the more suspicious, NaN the least.

    The first `top` are taken by value, ties by row.
    """
    a, b = (
        np.nan_to_num(values.astype(np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        for values in (first, second)
    )
    ranks = np.stack([rankdata(a), rankdata(b)])
    firsts = [set(np.argsort(-values, kind="stable")[:top].tolist()) for values in (a, b)]
    varies = bool((ranks.std(axis=1) > 0).all()) if ranks.shape[1] > 1 else False
    return RankOverlap(
        spearman=float(np.corrcoef(ranks)[0, 1]) if varies else None, shared=len(firsts[0] & firsts[1]), top=top
    )
