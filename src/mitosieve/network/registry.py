"""Networks by their configuration: built, saved and loaded."""

from pathlib import Path
from pkgutil import resolve_name

from safetensors import SafetensorError
from safetensors.torch import load as tensors_from_bytes
from safetensors.torch import save as tensors_to_bytes
from torch import nn

from mitosieve.errors import DetectorError
from mitosieve.network.config import NetworkConfig
from mitosieve.run.folder import write_atomic


def build_network(config: NetworkConfig) -> nn.Module:
    """A freshly initialised network of this configuration."""
    return resolve_name(config.network)(config)


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
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DetectorError("the weight file is missing", where=path, remedy="copy the whole folder again") from error
    return weights_from_bytes(network, content, where=path)


def weights_from_bytes(network: nn.Module, content: bytes, *, where: str | Path) -> nn.Module:
    """The same of a file that was read.

    Args:
        network: of the configuration that the weights are of.
        content: of the file.
        where: its path, for messages.
    """
    try:
        network.load_state_dict(tensors_from_bytes(content))
    except (SafetensorError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DetectorError(f"does not hold weights of this network ({reason})", where=where) from error
    return network.eval()
