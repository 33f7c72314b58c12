"""A residual network for small patches: it sees them at half resolution where the public ResNet does at a quarter.

A cell of 10 um is 40 px at 0.25 um/px: after a stride of four its chromatin is ten pixels wide. Letters in shapes: B
batch, C channels, H rows, W columns. Knows no patches and no slides. Ours, of He et al.'s (2016) basic blocks.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from mitosieve.network.config import ResidualConfig
from mitosieve.network.resnet import BasicBlock

STEM_PX = 5
"""Side of the first convolution."""


class ResidualNet(nn.Module):
    """A 5x5 convolution of stride 2, stages of basic blocks, and a linear decision on the mean over all places."""

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__()
        self.config = config
        self.input_px = config.input_px
        first = config.widths[0]
        self.stem = nn.Conv2d(config.in_channels, first, STEM_PX, stride=2, padding=STEM_PX // 2, bias=False)
        self.norm = nn.BatchNorm2d(first)
        layers: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise((first, *config.widths))):
            layers.append(BasicBlock(before, after, stride=1 if number == 0 else 2))
            layers += [BasicBlock(after, after, stride=1) for _ in range(config.blocks - 1)]
        self.stages = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.decision = nn.Linear(config.widths[-1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # batch norms begin as the identity
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.decision.bias)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logit of "mitotic figure", (B,), of images (B, in_channels, H, W) in 0..1."""
        return self.decision(self.dropout(self.embedding(image_BCHW)))[:, 0]

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """Features averaged over the image, (B, C)."""
        return self.stages(torch.relu(self.norm(self.stem(image_BCHW)))).mean(dim=(2, 3))
