"""The networks of recipe `swift`: small plain convolutions for CPUs, without padding, so that they also run densely.

Letters in shapes: B batch, C channels, H rows, W columns. Knows no patches and no slides.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mitosieve.network.config import SwiftConfig, halving_kernel


class SwiftNet(nn.Module):
    """Groups of a halving convolution and 3x3 convolutions, then one convolution over all that is left, then a logit.

    No convolution is padded and nothing is pooled over the whole image, so a place of `dense` is the score of the patch
    that is its field of view, computed without what neighbours share. A halving kernel has side 4 on an even map and
    3 on an odd one: no row is left over, so the field's centre is the patch's centre.

    Design: valid convolutions run densely as in Ciresan et al. (MICCAI 2013) and OverFeat (Sermanet et al., ICLR 2014);
    batch normalisation follows each convolution, so it folds into it when nothing is learned.
    """

    def __init__(self, config: SwiftConfig) -> None:
        super().__init__()
        self.input_px = config.input_px
        self.stride_px = 2 ** len(config.widths)
        """px between neighbours of the dense map."""
        momentum = 1 - config.batch_norm_decay
        sizes = config.map_px()
        first = 1 if config.stem else 0
        entries = [sizes[first + sum(config.depths[:number]) + number] for number in range(len(config.widths))]
        channels = (config.stem or config.in_channels, *config.widths)
        self.stem = _convolution(config.in_channels, config.stem, 3, 1, momentum) if config.stem else None
        self.groups = nn.ModuleList(
            _Group(before, after, entry, depth, residual=config.residual, momentum=momentum)
            for (before, after), entry, depth in zip(pairwise(channels), entries, config.depths, strict=True)
        )
        self.head = _convolution(config.widths[-1], config.head, sizes[-1], 1, momentum)
        self.dropout = nn.Dropout(config.dropout)
        self.decision = nn.Conv2d(config.head, 1, 1)
        _initialise(self)

    def dense(self, image_BCHW: Tensor) -> Tensor:
        """Logits of every patch of an image whose corner is a multiple of `stride_px`.

        Args:
            image_BCHW: float in 0..1; H and W at least `input_px`.

        Returns:
            (B, (H - input_px) // stride_px + 1, the same of W); the place (i, j) is centred at row
            stride_px * i + input_px / 2 and column stride_px * j + input_px / 2 of the image, px from its corner.
        """
        x = image_BCHW * 2 - 1
        if self.stem is not None:
            x = torch.relu(self.stem(x))
        for group in self.groups:
            x = group(x)
        return self.decision(self.dropout(torch.relu(self.head(x)))).squeeze(1)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logit of "mitotic figure".

        Args:
            image_BCHW: (B, in_channels, input_px, input_px) float in 0..1.

        Returns:
            (B,) logits.
        """
        return self.dense(image_BCHW).squeeze(2).squeeze(1)


class _Group(nn.Module):
    def __init__(self, before: int, after: int, entry_px: int, depth: int, *, residual: bool, momentum: float) -> None:
        super().__init__()
        self.halve = _convolution(before, after, halving_kernel(entry_px), 2, momentum)
        self.convolutions = nn.ModuleList(_convolution(after, after, 3, 1, momentum) for _ in range(depth))
        self.kept = depth if residual and depth else 0
        """px cut from each side of what is added; 0 adds nothing."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.halve(x))
        start = x
        for number, convolution in enumerate(self.convolutions, start=1):
            x = convolution(x)
            if self.kept and number == len(self.convolutions):
                x = x + self._cut(start)
            x = torch.relu(x)
        return x

    def _cut(self, x: Tensor) -> Tensor:
        """The middle that the convolutions leave. While learning by padding with a negative width: equal values, but
        the gradient stays channels-last. A slice's does not, and all layers before it then work on strided memory (a
        step takes 1.5 times as long).
        """
        if self.training:
            return nn.functional.pad(x, (-self.kept,) * 4)
        return x[:, :, self.kept : -self.kept, self.kept : -self.kept]


def _convolution(before: int, after: int, kernel: int, stride: int, momentum: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride=stride, bias=False), nn.BatchNorm2d(after, momentum=momentum)
    )


def _initialise(network: nn.Module) -> None:
    """He normal for what a ReLU follows, Xavier uniform for the decision, zero for its bias."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.bias is None:
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
