"""Networks that score a patch alike however it is turned: convolutions over place and orientation.

Definition of the layers: the SE(2) group convolutions of Bekkers, Lafarge et al. (MICCAI 2018), as their library SE2CNN
computes them. How many, how wide and with which kernels is our reconstruction: of Lafarge and Koelzer's MIDOG 2022
entry (arXiv 2301.01079) the abstract says only that it was rotation-invariant. Orientation b of N is the angle
theta_b = 2 pi b / N; mirror images are no part of the group. Letters in shapes: B batch, C channels, N orientations,
H rows, W columns; C' of the output. Knows no patches and no slides.
"""

import math
from abc import ABC, abstractmethod
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from mitosieve.network.config import BLOCK_PX, RotoTranslationConfig


class RotoTranslationNet(nn.Module):
    """A lifting convolution, group convolutions, the largest (or mean) orientation, then 1x1 convolutions to a logit.

    No convolution is padded, so a place of `dense` is the score of the patch that is its field of view. A group
    without blocks is convolution, max-pool, batch norm, ReLU. The reconstruction's table has the pool last: ReLU and
    maximum commute, batch norm and maximum do where its scale is positive; normalising a quarter of the places saves
    a third of a training step on a CPU. A group with blocks is convolution, batch norm, ReLU, blocks, max-pool.

    With one orientation it is an ordinary network, its kernels cut to the disc all the same.

    Design: turned copies of kernels cut to a disc (Bekkers et al., MICCAI 2018), valid convolutions that run densely
    (Ciresan et al., MICCAI 2013), blocks after He et al. (2016).
    """

    def __init__(self, config: RotoTranslationConfig) -> None:
        super().__init__()
        self.input_px = config.input_px
        self.stride_px = config.stride_px
        self.orientations = config.orientations
        self.projection = config.projection
        momentum = 1 - config.batch_norm_decay
        last = len(config.widths) - 1
        self.groups = nn.ModuleList(
            _Group(
                _LiftingConvolution(before, after, config.kernel_px, config.orientations)
                if number == 0
                else _GroupConvolution(before, after, config.kernel_px, config.orientations),
                blocks,
                halved=number < last,
                momentum=momentum,
            )
            for number, ((before, after), blocks) in enumerate(
                zip(pairwise((config.in_channels, *config.widths)), config.blocks, strict=True)
            )
        )
        self.head = nn.Conv2d(config.widths[-1], config.head, 1, bias=False)
        self.head_norm = nn.BatchNorm2d(config.head, momentum=momentum)
        self.dropout = nn.Dropout(config.dropout)
        self.decision = nn.Conv2d(config.head, 1, 1)
        nn.init.kaiming_normal_(self.head.weight, nonlinearity="relu")
        nn.init.xavier_uniform_(self.decision.weight)
        nn.init.zeros_(self.decision.bias)  # pyright: ignore[reportArgumentType] - it has one

    def dense(self, image_BCHW: Tensor) -> Tensor:
        """Logits of every patch of an image whose corner is a multiple of `stride_px`.

        Args:
            image_BCHW: float in 0..1; H and W at least `input_px`.

        Returns:
            (B, (H - input_px) // stride_px + 1, the same of W); the place (i, j) is centred at row
            stride_px * i + input_px / 2 and column stride_px * j + input_px / 2 of the image, px from its corner.
        """
        x = (image_BCHW * 2 - 1).contiguous(memory_format=torch.channels_last)
        for group in self.groups:
            x = group(x)
        x = x.unflatten(1, (self.orientations, -1))
        x = x.amax(dim=1) if self.projection == "max" else x.mean(dim=1)
        x = torch.relu(self.head_norm(self.head(x)))
        return self.decision(self.dropout(x)).squeeze(1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logit of "mitotic figure".

        Args:
            image_BCHW: (B, in_channels, input_px, input_px) float in 0..1.

        Returns:
            (B,) logits.
        """
        return self.dense(image_BCHW).squeeze(2).squeeze(1)

    def frozen(self) -> "FrozenRotoTranslationNet":
        """The same function as now in evaluation mode, of ordinary layers with weights of their own."""
        return FrozenRotoTranslationNet(self)


class FrozenRotoTranslationNet(nn.Module):
    """What a `RotoTranslationNet` computes in evaluation mode, all orientations' kernels written out; not for training.

    Made of layers that `graph` writes.
    """

    def __init__(self, network: RotoTranslationNet) -> None:
        super().__init__()
        self.input_px = network.input_px
        self.stride_px = network.stride_px
        self.projection = network.projection
        self.groups = nn.ModuleList(_FrozenGroup(group) for group in network.groups if isinstance(group, _Group))
        width = network.head.in_channels
        self.turned = nn.Unflatten(1, (network.orientations, width))
        self.head = nn.Sequential(_copy_of(network.head), _norm_of(network.head_norm, 1), nn.ReLU())
        self.decision = _copy_of(network.decision)
        self.requires_grad_(False).eval()

    def dense(self, image_BCHW: Tensor) -> Tensor:
        """As `RotoTranslationNet.dense`."""
        x = image_BCHW * 2 - 1
        for group in self.groups:
            x = group(x)
        x = self.turned(x)
        x = x.amax(dim=1) if self.projection == "max" else x.mean(dim=1)
        return self.decision(self.head(x)).squeeze(1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """As `RotoTranslationNet.forward`."""
        return self.dense(image_BCHW).squeeze(2).squeeze(1)


class _Turned(nn.Module, ABC):
    """A convolution whose kernels are base kernels turned to every orientation.

    Channels of its output lie as (orientation, feature): seen channels-last, an orientation is then one more column
    of pixels, and batch norm shares its statistics over orientations without a copy.

    Attributes:
        weight: base kernels (C', C, k, k), or (C', N * C, k, k) where the input has orientations; it has four axes
            because torch lays no others channels-last.
    """

    operator: Tensor

    def __init__(self, weight: Tensor, orientations: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.orientations = orientations
        self.width = weight.shape[0]
        operator = torch.from_numpy(turning_operator(weight.shape[-1], orientations)).float()
        self.register_buffer("operator", operator, persistent=False)
        self._kept: tuple[tuple[int, int], Tensor] | None = None
        fan_in = int(disc(weight.shape[-1]).sum()) * weight.shape[1]
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_in))  # He et al. (2015); a tap outside the disc is none

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernels())

    def kernels(self) -> Tensor:
        """All orientations' kernels (N * C', C or N * C, k, k): made anew where they are to be learned, else kept."""
        if torch.is_grad_enabled():
            return self._made()
        state = (self.weight._version, self.weight.data_ptr())  # torch counts writes nowhere else
        if self._kept is None or self._kept[0] != state:
            with torch.inference_mode(mode=False), torch.no_grad():
                self._kept = (state, self._made().contiguous(memory_format=torch.channels_last))
        return self._kept[1]

    def _made(self) -> Tensor:
        with torch.autocast(self.weight.device.type, enabled=False):
            return self._turn()

    @abstractmethod
    def _turn(self) -> Tensor:
        """The kernels (N * C', C or N * C, k, k) of the weights as they are."""


class _LiftingConvolution(_Turned):
    """From an image to orientations: feature (b, o) is the image under kernel o turned by theta_b."""

    def __init__(self, before: int, after: int, kernel_px: int, orientations: int) -> None:
        super().__init__(torch.empty(after, before, kernel_px, kernel_px), orientations)

    def _turn(self) -> Tensor:
        side = self.weight.shape[-1]
        turned = self.weight.reshape(-1, side * side) @ self.operator.transpose(1, 2)
        return turned.reshape(self.orientations * self.width, -1, side, side)


class _GroupConvolution(_Turned):
    """From orientations to orientations: for output b every slice is turned by theta_b and moved on by b slices."""

    _moved = 1
    """Direction in which slices move. The other one is the classic mistake; a test shows that it would be seen."""

    def __init__(self, before: int, after: int, kernel_px: int, orientations: int) -> None:
        super().__init__(torch.empty(after, orientations * before, kernel_px, kernel_px), orientations)

    def _turn(self) -> Tensor:
        side, turns = self.weight.shape[-1], self.orientations
        base = self.weight.reshape(self.width, turns, -1, side * side)
        moved = torch.stack([base.roll(self._moved * turn, dims=1) for turn in range(turns)])
        turned = torch.bmm(moved.reshape(turns, -1, side * side), self.operator.transpose(1, 2))
        return turned.reshape(turns * self.width, -1, side, side)


class _Norm(nn.BatchNorm2d):
    """Batch norm of features (B, N * C, H, W) whose statistics and scale are those of all orientations together."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gives it
        batch, channels, height, width = input.shape
        columns = input.permute(0, 2, 3, 1).reshape(batch, height, -1, self.num_features).permute(0, 3, 1, 2)
        found = super().forward(columns).permute(0, 2, 3, 1)
        return found.reshape(batch, height, width, channels).permute(0, 3, 1, 2)


class _Block(nn.Module):
    def __init__(self, width: int, orientations: int, momentum: float) -> None:
        super().__init__()
        self.convolution = _GroupConvolution(width, width, BLOCK_PX, orientations)
        self.norm = _Norm(width, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.convolution(x)) + x[:, :, 1:-1, 1:-1])


class _Group(nn.Module):
    def __init__(self, convolution: _Turned, blocks: int, *, halved: bool, momentum: float) -> None:
        super().__init__()
        width, turns = convolution.width, convolution.orientations
        self.convolution = convolution
        self.norm = _Norm(width, momentum=momentum)
        self.blocks = nn.ModuleList(_Block(width, turns, momentum) for _ in range(blocks))
        self.halved = halved

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        if self.halved and not self.blocks:
            x = functional.max_pool2d(x, 2)
        x = torch.relu(self.norm(x))
        for block in self.blocks:
            x = block(x)
        return functional.max_pool2d(x, 2) if self.halved and self.blocks else x


class _FrozenBlock(nn.Module):
    def __init__(self, block: _Block) -> None:
        super().__init__()
        self.convolution = nn.Sequential(
            _conv_of(block.convolution), _norm_of(block.norm, block.convolution.orientations)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convolution(x) + x[:, :, 1:-1, 1:-1])


class _FrozenGroup(nn.Sequential):
    def __init__(self, group: _Group) -> None:
        layers: list[nn.Module] = [
            _conv_of(group.convolution),
            _norm_of(group.norm, group.convolution.orientations),
            nn.ReLU(),
            *(_FrozenBlock(block) for block in group.blocks if isinstance(block, _Block)),
        ]
        if group.halved:
            layers.insert(len(layers) if group.blocks else 1, nn.MaxPool2d(2))
        super().__init__(*layers)


def _conv_of(convolution: _Turned) -> nn.Conv2d:
    with torch.no_grad():
        kernels = convolution.kernels()
    found = nn.Conv2d(kernels.shape[1], kernels.shape[0], kernels.shape[2], bias=False, device="meta")
    found.weight = nn.Parameter(kernels.clone(), requires_grad=False)
    return found


def _norm_of(norm: nn.BatchNorm2d, orientations: int) -> nn.BatchNorm2d:
    """A batch norm of its own, once an orientation."""
    found = nn.BatchNorm2d(norm.num_features * orientations, eps=norm.eps)
    state = {name: value.detach() for name, value in norm.state_dict().items()}
    state = {name: value.repeat(orientations) if value.ndim else value for name, value in state.items()}
    found.to(norm.weight.device).load_state_dict(state)
    return found


def _copy_of(convolution: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 convolution of its own."""
    found = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1, bias=convolution.bias is not None)
    found.to(convolution.weight.device).load_state_dict(convolution.state_dict())
    return found


def disc(side: int) -> NDArray[np.bool_]:
    """Taps (side, side) of a kernel that survive turning: centres within side / 2 of the middle; of 25 they are 21."""
    offset = np.arange(side) - (side - 1) / 2
    return offset[:, None] ** 2 + offset[None] ** 2 <= (side / 2) ** 2


def turning_operator(side: int, orientations: int) -> NDArray[np.float64]:
    """Matrices (N, side * side, side * side) that turn a flattened kernel by theta_b.

    Tap (y, x) about the middle, in the disc, becomes the base kernel's value at (cos y + sin x, -sin y + cos x),
    interpolated bilinearly with zero beyond the kernel; taps outside the disc become zero, at b = 0 too. The matrices
    for right angles are exact permutations within the disc.
    """
    middle = (side - 1) / 2
    y, x = (axis.ravel() for axis in np.mgrid[:side, :side] - middle)
    taps = np.flatnonzero(disc(side))
    found = np.zeros((orientations, side * side, side * side))
    for turn in range(orientations):
        cos, sin = _cosine(4 * turn / orientations), _cosine(4 * turn / orientations - 1)
        at_y, at_x = cos * y[taps] + sin * x[taps] + middle, -sin * y[taps] + cos * x[taps] + middle
        for row in (np.floor(at_y), np.floor(at_y) + 1):
            for column in (np.floor(at_x), np.floor(at_x) + 1):
                weight = (1 - np.abs(at_y - row)) * (1 - np.abs(at_x - column))
                inside = (row >= 0) & (row < side) & (column >= 0) & (column < side)
                source = (row * side + column)[inside].astype(np.intp)
                found[turn, taps[inside], source] += weight[inside]
    return found


def _cosine(quarters: float) -> float:
    """Cosine of an angle in right angles, exact at whole ones."""
    return float((1, 0, -1, 0)[int(quarters) % 4]) if quarters == int(quarters) else math.cos(quarters * math.pi / 2)
