"""The location loss of DASC: a network's map should point at the figure, not at what lies beside it.

Coordinates are px of the patch, x then y, pixel centres at integers; the middle of a patch of 80 px is 39.5.
"""

import math
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional


class LocationConfig(BaseModel):
    """Which location loss, and its numbers; the defaults are those of DASC's public code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=0.1, ge=0, le=100)
    """alpha_loc: of this loss in the sum of a training; `location_loss` leaves it to the caller."""
    kind: Literal["l2", "log-barrier"] = "l2"
    """The distance itself, or a barrier that lets it be up to `margin_px` and then rises steeply."""
    sharpness: float = Field(default=10.0, gt=0, le=1000)
    """CAM temperature: what the map is multiplied by before the sigmoid."""
    margin_px: float = Field(default=10.0, gt=0, le=1000)
    """Distance that the barrier lets pass, px of the patch."""
    barrier_t: float = Field(default=50.0, gt=1e-3, le=1e4)
    """t: how steep the barrier is. It falls as -log(margin - distance) / t inside and rises by t per px outside."""


def soft_centroid(activation: Tensor, patch_px: int, *, sharpness: float) -> Tensor:
    """Where a map points: the mean of its cells' middles, weighted by sigmoid(sharpness * activation).

    Cell (i, j) of an (h, w) map has its middle at x = (j + 0.5) * patch_px / w - 0.5, and y alike from i and h.

    Args:
        activation: (B, h, w) of "mitotic figure".
        patch_px: side of the patch.
        sharpness: CAM temperature.

    Returns:
        (B, 2) x, y in px of the patch; its middle where the map is flat. Defined for any map: weights that all vanish
        still have ratios.
    """
    height, width = activation.shape[1:]
    share = torch.softmax(functional.logsigmoid(sharpness * activation).flatten(1), dim=1).view_as(activation)
    x, y = (
        (torch.arange(cells, dtype=activation.dtype, device=activation.device) + 0.5) * (patch_px / cells) - 0.5
        for cells in (width, height)
    )
    return torch.stack([(share.sum(dim=1) * x).sum(dim=1), (share.sum(dim=2) * y).sum(dim=1)], dim=1)


def location_loss(activation: Tensor, place_px: Tensor, patch_px: int, config: LocationConfig) -> Tensor:
    """How far from its figure the map of each sample points.

    `l2` is the distance d of the soft centroid from the figure. `log-barrier` is, with z = d - margin_px and t,

        -log(-z) / t                          where z <= -1 / t^2,
        t z - log(1 / t^2) / t + 1 / t        elsewhere:

    the extended log-barrier of Kervadec et al. (2019), below 0 where d is well within the margin. That DASC applies it
    to the distance less the margin is a reconstruction: the public code names margin and t alone.

    Args:
        activation: (B, h, w) map of "mitotic figure".
        place_px: (B, 2) x, y of the figure in px of the patch; a row that is not finite has none (background).
        patch_px: side of the patch.
        config: which loss; its `weight` is not applied.

    Returns:
        (B,) px, or the barrier's value; 0 for samples without a figure. Single precision at least.
    """
    with torch.autocast(device_type=activation.device.type, enabled=False):
        activation = activation if activation.dtype == torch.float64 else activation.float()
        is_placed = torch.isfinite(place_px).all(dim=1)
        centroid = soft_centroid(activation, patch_px, sharpness=config.sharpness)
        target = torch.where(is_placed[:, None], place_px.to(centroid.dtype), centroid.detach())
        loss = torch.linalg.vector_norm(centroid - target, dim=1)
        if config.kind == "log-barrier":
            loss = _extended_log_barrier(loss - config.margin_px, config.barrier_t)
        return torch.where(is_placed, loss, 0.0)


def _extended_log_barrier(z: Tensor, t: float) -> Tensor:
    edge = 1 / t**2
    inside = -torch.log(-z.clamp(max=-edge)) / t  # clamped: the branch not taken must not give NaN to the gradient
    return torch.where(z <= -edge, inside, t * z - math.log(edge) / t + 1 / t)
