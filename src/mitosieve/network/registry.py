"""Which networks there are: their configurations as one union, how each is built, saved and loaded.

A new network joins `NetworkConfig` and `build_network`.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import nn

from mitosieve.errors import DetectorError
from mitosieve.network.chsnet import ChsNet, ChsNetConfig
from mitosieve.network.residual import ResidualConfig, ResidualNet
from mitosieve.network.resnet import ResNetCam, ResNetConfig
from mitosieve.network.rototranslation import RotoTranslationConfig, RotoTranslationNet
from mitosieve.network.swift import SwiftConfig, SwiftNet
from mitosieve.run.folder import write_atomic

NetworkConfig = ChsNetConfig | SwiftConfig | RotoTranslationConfig | ResNetConfig | ResidualConfig
"""The configuration of any network; `kind` tells which."""


def build_network(config: NetworkConfig) -> nn.Module:
    """A freshly initialised network of this configuration."""
    if isinstance(config, RotoTranslationConfig):
        return RotoTranslationNet(config)
    if isinstance(config, ResNetConfig):
        return ResNetCam(config)
    if isinstance(config, ResidualConfig):
        return ResidualNet(config)
    return SwiftNet(config) if isinstance(config, SwiftConfig) else ChsNet(config)


def map_stride_px(config: NetworkConfig) -> int | None:
    """Px between neighbours of a network's map of the scores of patches; None of a network that has none.

    A ResNet's map is not one: its convolutions are padded, so a place's value depends on where the borders are.
    """
    if isinstance(config, RotoTranslationConfig):
        return config.stride_px
    return 2 ** len(config.widths) if isinstance(config, SwiftConfig) else None


def save_weights(network: nn.Module, path: Path, *, half: bool = False) -> Path:
    """Write a network's state as safetensors; equal weights give equal bytes.

    Args:
        network: any.
        path: of the file.
        half: keep floating-point weights as float16: half the size. They are read back as float32, rounded.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    return write_atomic(path, tensors_to_bytes(state))


def load_weights(network: nn.Module, path: Path) -> nn.Module:
    """Read what `save_weights` wrote into a network of the same configuration, and leave it in evaluation mode.

    Raises:
        DetectorError: the file is not safetensors, or of another network.
    """
    try:
        network.load_state_dict(tensors_from_bytes(path.read_bytes()))
    except FileNotFoundError as error:
        raise DetectorError("the weight file is missing", where=path, remedy="copy the whole folder again") from error
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DetectorError(f"does not hold weights of this network ({reason})", where=path) from error
    return network.eval()
