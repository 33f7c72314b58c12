"""A ResNet of basic blocks, and the networks that stand on it: with a class-activation map, two branches, levels.

The layout is that of the public ResNet-18 (He et al. 2016, table 1) down to the names in its state dict, so that its
public weights fit; what each does is told in docs/dasc.md (DASC, after Mitosis-UTS). Letters in shapes: B batch,
C channels of the last stage, M maps, H rows, W columns, h and w those of a map. Knows no patches and no slides.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor, nn
from torch.nn import functional

from mitosieve.errors import DetectorError
from mitosieve.network.config import RESNET_WIDTHS, ResNetConfig

BLOCKS = 2
"""Basic blocks of a stage: ResNet-18."""

SLICED_BELOW = 16
"""With fewer channels a projection takes every second pixel first and convolves then (see `chsnet.SLICED_BELOW`)."""

PROJECTED = (512, 128)
"""Features of the projection's two layers (docs/dasc.md: our reading)."""

NAMED_AT_MOST = 3
"""Keys of a weight file that a message names."""

Head = Literal["pooled", "maximum"]
"""How features become logits: a linear layer on their mean over places, or 1x1 maps without bias, of which each one's
largest place is a logit (DASC's public code, in all its networks)."""


class ResNetBody(nn.Module):
    """7x7 convolution of stride 2, max-pool of stride 2, then stages of two basic blocks; without a decision.

    Images are 0..1, without the mean and deviation that the public weights were trained with (DASC's public code).

    Attributes:
        channels: C.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        counts = config.channels
        self.channels = counts[-1]
        self.conv1 = nn.Conv2d(3, counts[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(counts[0])
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self._stages = tuple(f"layer{number}" for number in range(1, config.stages + 1))
        for name, (before, after) in zip(self._stages, pairwise((counts[0], *counts)), strict=True):
            first = BasicBlock(before, after, stride=1 if name == "layer1" else 2)
            rest = (BasicBlock(after, after, stride=1) for _ in range(BLOCKS - 1))
            self.add_module(name, nn.Sequential(first, *rest))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):  # batch norms begin as the identity
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, image_BCHW: Tensor) -> Tensor:
        """Features of the last stage, none negative.

        Args:
            image_BCHW: (B, 3, H, W) float in 0..1.

        Returns:
            (B, C, h, w); h is H / stride_px rounded up, w likewise. Because of the padding, features near the border
            are not those that the same pixels would give inside a larger image.
        """
        x = self.maxpool(torch.relu(self.bn1(self.conv1(image_BCHW))))
        for name in self._stages:
            x = self.get_submodule(name)(x)
        return x

    def forward(self, image_BCHW: Tensor) -> Tensor:
        return self.features(image_BCHW)


class ResNetCam(nn.Module):
    """The body, a 1x1 convolution without bias to the classes' maps, and the largest place of each map as its logit.

    The field of the map's place (i, j) is centred at row stride_px * i and column stride_px * j of the image, for all
    halving layers are padded; upsampling shows it (stride_px - 1) / 2 px further down and right. The public code reads
    places off the upsampled map as they are, and so is done here: what training says of places must do the same.

    Source: DASC's public code, after Mitosis-UTS.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        self.input_px = config.input_px
        self.stride_px = config.stride_px
        self.body = ResNetBody(config)
        self.classifier = nn.Conv2d(self.body.channels, config.maps, 1, bias=False)
        nn.init.xavier_uniform_(self.classifier.weight)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logit of "mitotic figure": the figure's largest place, less the other class's where it has a map.

        Args:
            image_BCHW: (B, 3, H, W) float in 0..1.

        Returns:
            (B,) logits.
        """
        return self._decided(self._maps(self.body(image_BCHW), image_BCHW), image_BCHW)

    def activation(self, image_BCHW: Tensor) -> Tensor:
        """The map of class "mitotic figure" as logits; the other class's is no part.

        Returns:
            (B, h, w), before upsampling; (B, H, W), upsampled, where corners are aligned.
        """
        return self._maps(self.body(image_BCHW), image_BCHW)[:, -1]

    def dense(self, image_BCHW: Tensor) -> Tensor:
        """The same as `activation`, by the name that engines call.

        Not the logits of patches, as the dense maps of networks without padding are.
        """
        return self.activation(image_BCHW)

    def embedding(self, image_BCHW: Tensor) -> Tensor:
        """Features averaged over the image, (B, C)."""
        return _pooled(self.body(image_BCHW))

    def _maps(self, features_BChw: Tensor, image_BCHW: Tensor) -> Tensor:
        """The maps as others see them: (B, M, h, w), or (B, M, H, W) where corners are aligned."""
        maps = self.classifier(features_BChw)
        return _upsampled(maps, image_BCHW, self.config) if self.config.align_corners else maps

    def _decided(self, maps_BMhw: Tensor, image_BCHW: Tensor) -> Tensor:
        if self.config.upsample and not self.config.align_corners:
            maps_BMhw = _upsampled(maps_BMhw, image_BCHW, self.config)
        return _of_figure(maps_BMhw.amax(dim=(2, 3)), two=self.config.maps == 2)


class ContrastNet(ResNetCam):
    """A `ResNetCam` and a projection of its pooled features, for the contrastive term of training alone.

    FC 512, ReLU, FC 128, L2 norm (docs/dasc.md: our reading; the public head is missing).
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__(config)
        hidden, out = PROJECTED
        self.projection = nn.Sequential(nn.Linear(self.body.channels, hidden), nn.ReLU(), nn.Linear(hidden, out))

    def project(self, image_BCHW: Tensor) -> Tensor:
        """Unit vectors (B, 128)."""
        return self._projected(self.body(image_BCHW))

    def with_projection(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All that a training step needs, of one pass through the body: a batch enters the norms' statistics once.

        Args:
            image_BCHW: (B, 3, H, W) float in 0..1.

        Returns:
            What `forward`, `activation` and `project` give: (B,) logits, (B, h, w) map, (B, 128) unit vectors.
        """
        features = self.body(image_BCHW)
        maps = self._maps(features, image_BCHW)
        return self._decided(maps, image_BCHW), maps[:, -1], self._projected(features)

    def detached(self) -> ResNetCam:
        """The network without its projection, with weights of its own, in the same mode and on the same device."""
        network = ResNetCam(self.config).to(self.classifier.weight.device)
        state = self.state_dict()
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        return network.train(self.training)

    def _projected(self, features_BChw: Tensor) -> Tensor:
        projected = self.projection(_pooled(features_BChw))
        whole = torch.promote_types(projected.dtype, torch.float32)  # in half precision lengths are 1 to 0.4 % only
        return functional.normalize(projected.to(whole), dim=1)


class DualResNet(nn.Module):
    """Two bodies with weights of their own, one a view, a decision on each and one on both (DASC, stage 2).

    Args:
        config: of the bodies; how maps are counted, upsampled and decided on is said by it where `head` is "maximum".
        head: of the three decisions.
    """

    def __init__(self, config: ResNetConfig, head: Head = "pooled") -> None:
        super().__init__()
        self.config = config
        self.weak = ResNetBody(config)
        self.strong = ResNetBody(config)
        out = 1 if head == "pooled" else config.maps
        self.weak_head = _decision(self.weak.channels, out, head)
        self.strong_head = _decision(self.strong.channels, out, head)
        self.fused_head = _decision(self.weak.channels + self.strong.channels, out, head)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits of "mitotic figure".

        Args:
            image_BCHW: (B, 6, H, W) float in 0..1: the weakly augmented view, then the strongly augmented one, RGB.

        Returns:
            (B, 3) logits of the weak view, of the strong view, and of both together.
        """
        return self.with_features(image_BCHW)[0]

    def with_features(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The logits (B, 3), and the mean (B, 2C) over places of the features that the third is decided on, weak then
        strong; none negative.
        """
        weak, strong = self.weak(image_BCHW[:, :3]), self.strong(image_BCHW[:, 3:])
        fused = torch.cat([weak, strong], dim=1)
        decided = ((self.weak_head, weak), (self.strong_head, strong), (self.fused_head, fused))
        two = isinstance(self.fused_head, nn.Conv2d) and self.config.maps == 2
        logits = [_of_figure(_logits(head, part, image_BCHW, self.config), two=two) for head, part in decided]
        return torch.stack(logits, dim=1), _pooled(fused)


class LevelNet(nn.Module):
    """A decision between difficulty levels (DASC's public code, stage 3).

    Args:
        config: of the body; `maps` has no say, and upsampling only where `head` is "maximum".
        levels: how many.
        head: of the decision.
    """

    def __init__(self, config: ResNetConfig, levels: int = 3, head: Head = "pooled") -> None:
        super().__init__()
        self.config = config
        self.body = ResNetBody(config)
        self.head = _decision(self.body.channels, levels, head)

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Logits (B, levels) of images (B, 3, H, W) in 0..1."""
        return _logits(self.head, self.body(image_BCHW), image_BCHW, self.config)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each normalised, and a shortcut; projected where shape changes (He et al. 2016)."""

    def __init__(self, before: int, after: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.step = stride if before < SLICED_BELOW else 1
        self.downsample = (
            nn.Sequential(nn.Conv2d(before, after, 1, stride=stride // self.step, bias=False), nn.BatchNorm2d(after))
            if stride > 1 or before != after
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.downsample is None else self.downsample(x[:, :, :: self.step, :: self.step])
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + kept)


def _pooled(features_BChw: Tensor) -> Tensor:
    return features_BChw.mean(dim=(2, 3))


def _upsampled(maps_BMhw: Tensor, image_BCHW: Tensor, config: ResNetConfig) -> Tensor:
    size = image_BCHW.shape[2:]
    return functional.interpolate(maps_BMhw, size=size, mode="bilinear", align_corners=config.align_corners)  # pyright: ignore[reportArgumentType] - two numbers


def _of_figure(logits_BM: Tensor, *, two: bool) -> Tensor:
    """Logit (B,) of "mitotic figure": what a softmax of two makes of them."""
    return logits_BM[:, 1] - logits_BM[:, 0] if two else logits_BM[:, 0]


def _decision(features: int, out: int, head: Head) -> nn.Linear | nn.Conv2d:
    if head == "maximum":
        layer = nn.Conv2d(features, out, 1, bias=False)
    else:
        layer = nn.Linear(features, out)
        nn.init.zeros_(layer.bias)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def _logits(head: nn.Module, features_BChw: Tensor, image_BCHW: Tensor, config: ResNetConfig) -> Tensor:
    """What a `_decision` says of features, (B, out)."""
    if isinstance(head, nn.Linear):
        return head(_pooled(features_BChw))
    maps = head(features_BChw)
    return (_upsampled(maps, image_BCHW, config) if config.upsample else maps).amax(dim=(2, 3))


def load_public_weights(body: ResNetBody, path: Path) -> None:
    """Copy weights of the public ResNet-18 layout into a body; its mode and device stay.

    The decision "fc" and stages that the body has not are left out. Counters of batches, of which old files have none,
    may be missing.

    Args:
        body: of width 1, where the file is of the public network.
        path: a safetensors file.

    Raises:
        DetectorError: no such file, no safetensors, or a key that is missing, of another shape, not finite or foreign.
            Then nothing was changed.
    """
    try:
        given = tensors_from_bytes(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DetectorError("there are no weights here", where=path, remedy="name a safetensors file") from error
    except (SafetensorError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DetectorError(f"is not a safetensors file ({reason})", where=path) from error
    own = body.state_dict()
    beyond = ("fc.", *(f"layer{number}." for number in range(body.config.stages + 1, len(RESNET_WIDTHS) + 1)))
    given = {name: value for name, value in given.items() if not name.startswith(beyond)}
    faults = list(_faults(own, given))
    if faults:
        shown = "; ".join(faults[:NAMED_AT_MOST])
        more = f"; and {len(faults) - NAMED_AT_MOST} more" if len(faults) > NAMED_AT_MOST else ""
        raise DetectorError(
            f"does not hold weights of the public ResNet-18 layout for this body: {shown}{more}",
            where=path,
            remedy="give the weights of a ResNet-18 and width 1, or train without them",
        )
    body.load_state_dict({**own, **given})


def _faults(own: dict[str, Tensor], given: dict[str, Tensor]) -> Iterator[str]:
    """What keeps weights from being those of a body, key by key."""
    for name, value in own.items():
        if name in given and given[name].shape != value.shape:
            yield f"{name} is {tuple(given[name].shape)}, not {tuple(value.shape)}"
        elif name not in given and not name.endswith("num_batches_tracked"):
            yield f"{name} is missing"
        elif name in given and not given[name].isfinite().all():
            yield f"{name} holds numbers that are not finite"
    for name in given:
        if name not in own:
            yield f"{name} is foreign"
