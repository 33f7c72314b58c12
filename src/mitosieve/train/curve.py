"""How a network does on validation patches along its training: for curves only, never for stopping."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import average_precision_score
from torch import nn

from mitosieve.network.compute import Compute
from mitosieve.network.loss import LossConfig, per_sample_loss
from mitosieve.train.pool import PatchPool


def validation_curve(
    pool: PatchPool, rows: NDArray[np.intp], loss: LossConfig, compute: Compute
) -> Callable[[nn.Module], dict[str, float]] | None:
    """A function that judges a network on fixed validation patches: mean loss and average precision.

    None without rows: the fold has no validation case, and the curves are of the training alone.
    """
    if not len(rows):
        return None
    target = pool.index.label[rows]

    def judge(network: nn.Module) -> dict[str, float]:
        score = pool.score(network, rows, compute)
        value = per_sample_loss(
            torch.from_numpy(logit(np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7))),
            torch.from_numpy(target.astype(np.float64)),
            loss,
        ).mean()
        return {
            "validation_loss": round(float(value), 6),
            "validation_average_precision": round(average_precision(target, score), 6),
        }

    return judge


def average_precision(target: NDArray[np.integer], score: NDArray[np.floating]) -> float:
    """Mean over the figures of the precision at their score, ties counted against them; 0 without figures."""
    return float(average_precision_score(target, score)) if (target > 0).any() else 0.0
