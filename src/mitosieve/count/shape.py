"""Shapes of a hotspot. Imports nothing heavy: a word for one is checked before any work."""

from typing import Literal, get_args

from mitosieve.errors import InputError, did_you_mean

Shape = Literal["square", "rectangle", "circle"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


def check_shape(word: str) -> None:
    """Refuse a word for no shape.

    Raises:
        InputError: with the nearest and all shapes.
    """
    if word not in SHAPES:
        raise InputError(
            f"unknown hotspot shape '{word}'", remedy=f"{did_you_mean(word, SHAPES)}choose {', '.join(SHAPES)}"
        )
