"""The class-stratified contrastive loss of DASC: features of one subclass close, of one class less far than of another.

Knows no networks and no clusters' making: it is handed features, ids and temperatures.
"""

from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

Weight = Annotated[float, Field(gt=0, le=100)]

LEAST_TEMPERATURE = 0.01
"""Lower temperatures of a sample count as this: a group whose members lie all at one place has density 0."""


class ContrastConfig(BaseModel):
    """Numbers of the contrastive loss; the defaults are those of DASC's public code, `class_weight` that of SBCL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.1, ge=LEAST_TEMPERATURE, le=10)
    """tau: of the subclass term, and what the class term's temperatures are scaled from."""
    base_temperature: float = Field(default=0.1, gt=0, le=10)
    """tau_base: the subclass term is weighed by tau / tau_base."""
    class_weight: float = Field(default=0.25, ge=0, le=100)
    """g: weight of the class term."""
    level_weights: tuple[Weight, Weight, Weight, Weight] = (1.0, 1.0, 1.5, 2.0)
    """omega: weight of an anchor that is easy, and of levels 1 to 3, before their mean is made 1. Reconstruction."""
    fine_weight: float = Field(default=0.0, ge=0, le=100)
    """Weight of a term whose positives share subclass and level, relative to the subclass term. Reconstruction."""


def supervised_contrast(z: Tensor, label: Tensor, config: ContrastConfig) -> Tensor:
    """Plain supervised contrast, of classes alone: tau / tau_base * L_sub of `subclass_contrast` with P_cls for P_sub.

        L = -tau / tau_base * mean over p of i's class of log( exp(z_i z_p / tau) / sum over A(i) )

    Args:
        z: (B, V, D) features of V views, of length 1.
        label: (B,) class.
        config: of which the two temperatures alone are used.

    Returns:
        (B,) in nats, the mean of each sample's views, single precision at least.

    Source: Khosla et al. (NeurIPS 2020), equation 2; in DASC's public code it is the whole loss of the warm-up.
    """
    samples, views, _ = z.shape
    with torch.autocast(device_type=z.device.type, enabled=False):
        anchor = _anchors(z)
        other = ~torch.eye(samples * views, dtype=torch.bool, device=z.device)
        same = _equal(label.repeat_interleave(views)) & other
        loss = _term(anchor @ anchor.T / config.temperature, same, other)
        return (config.temperature / config.base_temperature * loss).view(samples, views).mean(dim=1)


def subclass_contrast(
    z: Tensor, label: Tensor, cluster: Tensor, level: Tensor, temperature: Tensor, config: ContrastConfig
) -> Tensor:
    """The contrastive loss of each sample: the mean of its views', each an anchor against all others of the batch.

    For an anchor i, with A(i) all other anchors:

        P_sub(i) = same subclass;  P_cls(i) = same class but another subclass, and i's own other views
        L_sub = -mean over p in P_sub of log( exp(z_i z_p / tau)   / sum over A(i) )
        L_cls = -mean over p in P_cls of log( exp(z_i z_p / tau_c) / sum over A(i) without the same subclass,
                                                                     but with i's own other views )
        L     = omega[level] / mean(omega) * ( tau / tau_base * (L_sub + fine_weight * L_fine) + g * L_cls )

    L_fine is L_sub with P_fine, the anchors of the same subclass and level, over the same A(i). A term without a
    positive is 0, which cannot happen where there are two views. With one cluster a class, tau_c should be tau.

    Args:
        z: (B, V, D) features of V views (two in the method), of length 1.
        label: (B,) class.
        cluster: (B,) subclass, an id that no other class uses.
        level: (B,) difficulty, 0 easy, 1 to 3; less than 0 (none) weighs as easy.
        temperature: (B,) tau_c of the sample's class (SBCL) or of its cluster; no gradient flows into it.
        config: the other numbers.

    Returns:
        (B,) in nats, single precision at least, whatever the features' precision. Every term is 0 or more.

    Source: SBCL (ICCV 2023) for both terms, and docs/dasc.md for the weights and the finer term, which are
    a reconstruction: the public code of DASC calls a loss that it lacks.
    """
    samples, views, _ = z.shape
    with torch.autocast(device_type=z.device.type, enabled=False):
        anchor = _anchors(z)
        label, cluster, level = (each.repeat_interleave(views) for each in (label, cluster, level))
        sample = torch.arange(samples, device=z.device).repeat_interleave(views)
        other = ~torch.eye(samples * views, dtype=torch.bool, device=z.device)
        own = _equal(sample) & other
        same = _equal(cluster) & other
        rest = (other & ~same) | own
        alike = anchor @ anchor.T
        cold = temperature.detach().to(anchor.dtype).clamp(min=LEAST_TEMPERATURE).repeat_interleave(views)[:, None]
        sub = _term(alike / config.temperature, same, other)
        if config.fine_weight:
            sub = sub + config.fine_weight * _term(alike / config.temperature, same & _equal(level), other)
        loss = config.temperature / config.base_temperature * sub
        loss = loss + config.class_weight * _term(alike / cold, _equal(label) & rest, rest)
        return (loss * _anchor_weights(level, config)).view(samples, views).mean(dim=1)


def _anchors(z: Tensor) -> Tensor:
    """All views of all samples (B * V, D), in single precision at least."""
    anchor = z.flatten(0, 1)
    return anchor if anchor.dtype == torch.float64 else anchor.float()


def _equal(value: Tensor) -> Tensor:
    return value[:, None] == value[None, :]


def _term(logit: Tensor, positive: Tensor, rivals: Tensor) -> Tensor:
    """-mean over a row's positives of their log-softmax among its rivals, (N,); 0 where it has no positive."""
    lowest = torch.finfo(logit.dtype).min  # not -inf: a row without rivals would have a gradient of NaN
    total = torch.logsumexp(logit.masked_fill(~rivals, lowest), dim=1, keepdim=True)
    missing = torch.where(positive, total - logit, 0.0)
    return missing.sum(dim=1) / positive.sum(dim=1).clamp(min=1)


def _anchor_weights(level: Tensor, config: ContrastConfig) -> Tensor:
    """Weight of each anchor (N,), of mean 1."""
    weight = torch.tensor(config.level_weights, device=level.device)[level.long().clamp(min=0)]
    return weight / weight.mean()
