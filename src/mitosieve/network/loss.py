"""Losses per sample. Nobody averages here: the training loop does, when the objective has seen each sample.

`p` is the predicted probability of "mitotic figure" and p_t that of the true class: p for figures, 1 - p otherwise.
"""

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional


class LossConfig(BaseModel):
    """Which loss, and its numbers; the defaults are the paper's (section 4.2.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["cross-entropy", "focal", "semi-focal"] = "semi-focal"
    """The paper's SM, FL and SFL."""
    alpha: float = Field(default=5.0, gt=0)
    """Weight of focal and semi-focal loss."""
    gamma: float = Field(default=2.0, ge=0)
    """Focusing exponent."""
    clamp: float = Field(default=0.6, gt=0, le=1)
    """Largest modulating factor of the semi-focal loss (the paper's threshold T); 1 makes it the focal loss."""
    alpha_mode: Literal["both", "positive"] = "both"
    """Whether alpha weighs both classes (as printed: it only scales the loss) or figures alone."""


def per_sample_loss(logit: Tensor, target: Tensor, config: LossConfig) -> Tensor:
    """The configured loss of each sample.

    Args:
        logit: (B,) of "mitotic figure".
        target: (B,) 1 for a figure, 0 otherwise.
        config: which loss.

    Returns:
        (B,) in nats, times alpha where there is one.
    """
    if config.kind == "cross-entropy":
        return cross_entropy(logit, target)
    alpha = torch.where((target > 0.5) | torch.tensor(config.alpha_mode == "both"), config.alpha, 1.0)
    clamp = config.clamp if config.kind == "semi-focal" else 1.0
    return semi_focal(logit, target, gamma=config.gamma, clamp=clamp) * alpha


def cross_entropy(logit: Tensor, target: Tensor) -> Tensor:
    """-log p_t of each sample, (B,); stable for any logit."""
    return functional.binary_cross_entropy_with_logits(logit, target.to(logit.dtype), reduction="none")


def semi_focal(logit: Tensor, target: Tensor, *, gamma: float, clamp: float) -> Tensor:
    """-log(p_t) min((1 - p_t)^gamma, clamp) of each sample, (B,), without alpha.

    Where the modulating factor is clamped (p_t < 1 - clamp^(1/gamma), 0.2254 with the paper's numbers) the loss is
    `clamp` times the cross-entropy: a mislabelled sample pulls less than under the focal loss, yet without bound.
    The factor is part of the gradient, as in the focal loss.

    Source: Ma et al. 2018, equations 4 and 6; with clamp = 1 equation 5 (focal loss, Lin et al. 2017).
    """
    loss = cross_entropy(logit, target)
    missing = torch.clamp(-torch.expm1(-loss), min=1e-12)  # at 0 a power below 1 has an infinite gradient
    return loss * torch.clamp(missing**gamma, max=clamp)


def generalised_cross_entropy(logit: Tensor, target: Tensor, *, q: float = 0.7) -> Tensor:
    """(1 - p_t^q) / q of each sample, (B,): between the cross-entropy (q towards 0) and 1 - p_t (q = 1).

    It is at most 1 / q, and its gradient by the logit, p_t^q (1 - p_t), vanishes where p_t does: a sample that is
    surely mislabelled pulls no more.

    Args:
        logit: (B,) of "mitotic figure".
        target: (B,) 1 for a figure, 0 otherwise; nothing between.
        q: above 0, at most 1.

    Source: Zhang & Sabuncu, NeurIPS 2018; SBCL (ICCV 2023).
    """
    return -torch.expm1(-q * cross_entropy(logit, target)) / q


def smoothed_cross_entropy(logit: Tensor, target: Tensor, *, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy to a target that gives `smoothing` to both classes alike, half of it each; (B,) in nats.

    A figure's target is 1 - smoothing / 2, another's smoothing / 2.

    Args:
        logit: (B,) of "mitotic figure".
        target: (B,) 1 for a figure, 0 otherwise.
        smoothing: 0 to below 1; 0 is the cross-entropy.

    Source: Szegedy et al., CVPR 2016, section 7; DASC's public code (stage 4).
    """
    return cross_entropy(logit, target.to(logit.dtype) * (1 - smoothing) + smoothing / 2)
