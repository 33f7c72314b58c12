"""What a cell that a reader adds must be: on its slide, and none that the reader added already."""

from collections.abc import Sequence

from mitosieve.errors import InputError
from mitosieve.review.cell import added_before
from mitosieve.review.decision import Decision
from mitosieve.review.log import standing


def check_added(
    made: Decision, size_l0: tuple[int, int], decisions: Sequence[Decision], mpp: tuple[float, float]
) -> None:
    """Refuse an added cell that would count nowhere, or twice.

    Args:
        made: the decision that adds it.
        size_l0: width, height of its slide in level-0 px.
        decisions: of all readers so far.
        mpp: um per level-0 px of its slide.

    Raises:
        InputError: it lies off the slide, or where the same reader's added one is the same cell (`added_before`).
    """
    x, y = made.x_px or 0.0, made.y_px or 0.0
    if not (-0.5 <= x < size_l0[0] - 0.5 and -0.5 <= y < size_l0[1] - 0.5):
        raise InputError("the place is not on the slide")
    added = {decision.id for decision in decisions if decision.kind == "added"}
    own = [decision for key, decision in standing(decisions, made.reader).items() if key in added]
    if added_before(made, own, mpp) is not None:
        raise InputError("there is one already here", remedy="click it to decide about it again")
