"""A network's scores in whole numbers of 8 bits, as an ONNX graph: made once, on images that show how large values get.

A processor with VNNI multiplies four times as many of them at once as of float32. Scores differ from float32's; what
that costs has to be measured for each network. onnx and its quantizer are imported when a graph is made.
"""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mitosieve.network.graph import ScoresOfBytes, onnx_bytes

if TYPE_CHECKING:
    from torch import nn

_QUANTIZED = ("Conv", "Relu", "Add")
"""The rest takes no time, and the decision's sigmoid is to keep all digits."""

_AT_ONCE = 16


def int8_bytes(network: "nn.Module", images: NDArray[np.uint8]) -> bytes:
    """The graph of a network's scores in which convolutions are of 8-bit numbers.

    Weights have a scale a channel; values between layers one each, from the least to the most seen on `images`. All of
    it is ONNX Runtime's static quantisation.

    Args:
        network: in torch.
        images: (B, H, W, C) as it sees them in use, some hundreds, figures among them.

    Raises:
        InputError: the network cannot be written as ONNX.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.parts = iter([images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)])

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
            part = next(self.parts, None)
            return None if part is None else {"images": part}

    logger = logging.getLogger()  # the quantizer tells its steps to the root logger
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with tempfile.TemporaryDirectory(prefix="int8-") as folder:
            plain, ready, made = (Path(folder) / f"{name}.onnx" for name in ("plain", "ready", "made"))
            plain.write_bytes(onnx_bytes(ScoresOfBytes(network.eval()), images))
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)  # sizes may stay open
            quantize_static(
                str(ready),
                str(made),
                Images(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(_QUANTIZED),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            return made.read_bytes()
    finally:
        logger.setLevel(level)
