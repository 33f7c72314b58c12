"""Words for the machine that computes, and their check. Imports nothing heavy: they are checked before torch is."""

from typing import Literal, get_args

from mitosieve.errors import InputError, did_you_mean

Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed"]
EngineKind = Literal["torch", "onnxruntime", "bfloat16", "int8"]
"""What scores: torch; ONNX Runtime in float32; OpenVINO in bfloat16; ONNX Runtime by a detector's own graphs in whole
numbers of 8 bits.
"""

AUTO = "auto"
"""Stands for what is best on this machine."""


def check_choices(device: str, precision: str, engine: str) -> None:
    """Refuse a word that names no device, precision or engine; whether the machine has it is seen later.

    Raises:
        InputError: the word, the nearest one that there is, and all of them.
    """
    for what, word, known in (
        ("device", device, get_args(Device)),
        ("precision", precision, get_args(Precision)),
        ("engine", engine, get_args(EngineKind)),
    ):
        if word not in (AUTO, *known):
            raise InputError(
                f"unknown {what} '{word}'", remedy=f"{did_you_mean(word, known)}choose {AUTO}, {', '.join(known)}"
            )
