"""What a network is in numbers: the configuration of each kind, and which kinds there are. Torch is not needed to read
one: recipes and detectors are checked before it is loaded.

A new network is a class here, which joins `NetworkConfig`, and a file of its own, which `network` names.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Count = Annotated[int, Field(ge=1, le=1024)]

LARGEST_LEFT_PX = 8
"""Largest map that the last convolution of a `SwiftConfig` sees whole; a larger one has more weights than a few hundred
figures teach."""

BLOCK_PX = 3
"""Side of the kernels in a roto-translation network's residual blocks."""

RESNET_WIDTHS = (64, 128, 256, 512)
"""Channels of a ResNet's four stages at width 1."""

CHANNEL_STEP = 8
"""Scaled channel counts of a ResNet are multiples of this, and at least this."""


def halving_kernel(size_px: int) -> int:
    """Side of the convolution that halves a `SwiftConfig`'s map of this side without leaving a row over."""
    return 4 if size_px % 2 == 0 else 3


class ChsNetConfig(BaseModel):
    """Size and fusion of the network; the defaults are the paper's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: ClassVar[str] = "mitosieve.network.chsnet.ChsNet"

    kind: Literal["chsnet"] = "chsnet"
    width: float = Field(default=1.0, gt=0, le=4)
    """Multiplier of every channel count in Table 1; 1 is the paper, 1/8 is what two CPU cores can train."""
    fusion: Literal["A", "B"] = "A"
    """How the perceptron fuses features; figure 3 of the paper is lost, so both are readings (see `ChsNet`)."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of fused features dropped in training; the paper keeps 50 % (section 4.2.2)."""
    batch_norm_decay: float = Field(default=0.99, ge=0, lt=1)
    """Share of the running statistics kept at each step (section 4.2.2); torch's momentum is one minus this."""


class SwiftConfig(BaseModel):
    """Field and size; the defaults see 32 x 32 px and take 3.2 million multiply-adds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: ClassVar[str] = "mitosieve.network.swift.SwiftNet"

    kind: Literal["swift"] = "swift"
    input_px: int = Field(default=32, ge=4, le=512)
    """Side of a patch, and exactly the field of view of one place of the dense map."""
    in_channels: int = Field(default=3, ge=1, le=64)
    widths: tuple[Count, ...] = Field(default=(32, 64), min_length=1, max_length=8)
    """Channels of each group; every group begins by halving the map."""
    stem: Annotated[int, Field(ge=0, le=1024)] = 0
    """Channels of a 3x3 convolution at the patch's own resolution, before anything is halved; 0 has none."""
    depths: tuple[Annotated[int, Field(ge=0, le=16)], ...] = (1, 1)
    """3x3 convolutions of each group after the one that halves."""
    head: Count = 64
    """Features after the last convolution, which sees all that is left of the patch; the decision is made on them."""
    residual: bool = False
    """Add what a group's 3x3 convolutions start from, cut to their size, to what they give (He et al. 2016)."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the head's features dropped in training."""
    batch_norm_decay: float = Field(default=0.97, ge=0, lt=1)
    """Share of the running statistics kept at each step; torch's momentum is one minus this."""

    @model_validator(mode="after")
    def _fits(self) -> "SwiftConfig":
        if len(self.widths) != len(self.depths):
            raise ValueError(f"widths has {len(self.widths)} groups, depths {len(self.depths)}: give as many of each")
        sizes = self.map_px()
        if sizes[-1] < 1:
            shown = ", ".join(str(size) for size in sizes)
            raise ValueError(
                f"input_px {self.input_px} is used up before the last group ends (map side {shown}): "
                "give a larger input_px, or fewer groups or depths"
            )
        if sizes[-1] > LARGEST_LEFT_PX:
            raise ValueError(
                f"of input_px {self.input_px} a map of {sizes[-1]} px is left for the head, at most {LARGEST_LEFT_PX} "
                "is sensible: give a smaller input_px, or more groups or depths"
            )
        return self

    def map_px(self) -> list[int]:
        """Side of the map: of the input, then after each convolution but the head's; below 1 where nothing is left."""
        sizes = [self.input_px, self.input_px - 2] if self.stem else [self.input_px]
        for depth in self.depths:
            sizes.append((sizes[-1] - halving_kernel(sizes[-1])) // 2 + 1)
            sizes += [sizes[-1] - 2 * (number + 1) for number in range(depth)]
        return sizes


class RotoTranslationConfig(BaseModel):
    """Orientations and size; the defaults see 68 px (17 um at 0.25 um/px) in steps of 8."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: ClassVar[str] = "mitosieve.network.rototranslation.RotoTranslationNet"

    kind: Literal["rototranslation"] = "rototranslation"
    orientations: Literal[1, 4, 8, 12, 16] = 8
    """Turns that are shared weights; 1 is the ordinary network. Right angles are exact for all but 1, the others
    are as exact as bilinear interpolation and pooling are."""
    in_channels: int = Field(default=3, ge=1, le=64)
    widths: tuple[Count, ...] = Field(default=(16, 24, 32, 64), min_length=2, max_length=5)
    """Channels of each group, each in all orientations; every group but the last halves the map."""
    kernel_px: int = Field(default=5, ge=3, le=15)
    """Side of the kernel with which a group begins; odd, for a kernel turns about the middle of a pixel."""
    blocks: tuple[Annotated[int, Field(ge=0, le=8)], ...] = (0, 0, 0, 0)
    """Residual blocks of each group, before the map is halved; a block is one 3x3 convolution."""
    projection: Literal["max", "mean"] = "max"
    """What is kept of a feature's orientations: from there on nothing knows how the patch lies."""
    head: Count = 64
    """Features on which the decision is made."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of the head's features dropped in training."""
    batch_norm_decay: float = Field(default=0.97, ge=0, lt=1)
    """Share of the running statistics kept at each step; torch's momentum is one minus this."""

    @model_validator(mode="after")
    def _fits(self) -> "RotoTranslationConfig":
        if self.kernel_px % 2 == 0:
            raise ValueError(f"kernel_px {self.kernel_px} is even: give an odd one, which has a middle to turn about")
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"widths has {len(self.widths)} groups, blocks {len(self.blocks)}: give as many of each (0 for none)"
            )
        return self

    @property
    def input_px(self) -> int:
        """Side of a patch, and exactly the field of view of one place of the dense map.

        Counted from the one place that is left: a halved map has exactly twice the side, so of a patch no row is left
        over, which turning by right angles needs.
        """
        size = 1
        for number, blocks in reversed(list(enumerate(self.blocks))):
            if number < len(self.blocks) - 1:
                size *= 2
            size += blocks * (BLOCK_PX - 1) + self.kernel_px - 1
        return size

    @property
    def stride_px(self) -> int:
        """Px between neighbours of the dense map."""
        return 2 ** (len(self.widths) - 1)


class ResNetConfig(BaseModel):
    """Depth, width and head; the defaults are those of DASC's final network: 80 px, three stages, two maps."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: ClassVar[str] = "mitosieve.network.resnet.ResNetCam"

    kind: Literal["resnet"] = "resnet"
    input_px: int = Field(default=80, ge=16, le=1024)
    """Side of a patch in training. The network takes images of any size."""
    width: float = Field(default=1.0, gt=0, le=4)
    """Multiplier of the stages' channels 64, 128, 256, 512; 1 is the public ResNet-18."""
    stages: int = Field(default=3, ge=1, le=4)
    """Residual stages of two basic blocks; every one but the first halves the map."""
    maps: Literal[1, 2] = 2
    """Class-activation maps: 2 is "not a figure" and "mitotic figure" under a softmax (DASC), 1 is the figure's alone
    under a sigmoid (Mitosis-UTS)."""
    upsample: bool = True
    """Bring the maps to the image's size before the largest place is taken, as the public code does."""
    align_corners: bool = False
    """Upsample with the corner cells' centres on the image's corners, as the public code does, and let all that asks
    for the map see it so: location loss and peaks too. Else a cell is an area of `stride_px`, and what asks for the map
    gets it small. Networks of before have false."""

    @model_validator(mode="after")
    def _has_corners(self) -> "ResNetConfig":
        if self.align_corners and not self.upsample:
            raise ValueError("align_corners says how maps are upsampled: give upsample = true with it")
        return self

    @property
    def stride_px(self) -> int:
        """Px of the image between neighbours of the map."""
        return 2 ** (self.stages + 1)

    @property
    def channels(self) -> tuple[int, ...]:
        """Of each stage: `width` times the public ones, rounded to multiples of 8, at least 8."""
        return tuple(
            max(CHANNEL_STEP, CHANNEL_STEP * round(count * self.width / CHANNEL_STEP))
            for count in RESNET_WIDTHS[: self.stages]
        )


class ResidualConfig(BaseModel):
    """Field, widths and depth; the defaults see 64 x 64 px and take 107 million multiply-adds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    network: ClassVar[str] = "mitosieve.network.residual.ResidualNet"

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


NetworkConfig = ChsNetConfig | SwiftConfig | RotoTranslationConfig | ResNetConfig | ResidualConfig
"""The configuration of any network; `kind` tells which."""


def map_stride_px(config: NetworkConfig) -> int | None:
    """Px between neighbours of a network's map of the scores of patches; None of a network that has none.

    A ResNet's map is not one: its convolutions are padded, so a place's value depends on where the borders are.
    """
    if isinstance(config, RotoTranslationConfig):
        return config.stride_px
    return 2 ** len(config.widths) if isinstance(config, SwiftConfig) else None


def map_field_px(config: NetworkConfig) -> int | None:
    """Side of what a value of a network's map sees, px; None of a network that has no map (`map_stride_px`)."""
    return config.input_px if isinstance(config, RotoTranslationConfig | SwiftConfig) else None
