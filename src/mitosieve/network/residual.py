"""A residual network for small patches: it sees them at half resolution where the public ResNet does at a quarter.

A cell of 10 um is 40 px at 0.25 um/px: after a stride of four its chromatin is ten pixels wide. Letters in shapes: B
batch, C channels, H rows, W columns. Knows no patches and no slides. Ours, of He et al.'s (2016) basic blocks.
"""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mitosieve.network.resnet import BasicBlock

STEM_PX = 5
"""Side of the first convolution."""


class ResidualConfig(BaseModel):
    """Field, widths and depth; the defaults see 64 x 64 px and take 107 million multiply-adds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["residual"] = "residual"
    input_px: int = Field(default=64, ge=16, le=1024)
    """Side of a patch in training. The network takes images of any size from 16 px on."""
    in_channels: int = Field(default=3, ge=1, le=64)
    widths: tuple[Annotated[int, Field(ge=8, le=1024)], ...] = Field(default=(32, 64, 128), min_length=1, max_length=4)
    """Channels of each stage; every one but the first halves the map."""
    blocks: int = Field(default=2, ge=1, le=8)
    """Basic blocks of a stage."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the pooled features that a training step leaves out."""


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
