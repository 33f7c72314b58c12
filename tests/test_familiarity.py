"""Laws of what is said of a slide beside those of a training."""

import json

import pytest

from mitosieve.familiarity import Familiarity, Likeness

NEAR = Likeness(distance=1.0, limit=2.0)
FAR = Likeness(distance=7.3, limit=3.1, warning="stain unlike the training's: distance 7.3")
NONE = Likeness(distance=None, limit=3.1, warning="stain unlike the training's: none")


def test_warnings_are_of_traits_that_are_far_alone():
    """In the order of the traits, in one line where one line is wanted; nothing of a slide that is near."""
    both = Familiarity(traits={"stain": FAR, "sharpness": NEAR, "scores": NONE})
    assert both.warnings == (FAR.warning, NONE.warning)
    assert both.warning == f"{FAR.warning}; {NONE.warning}"
    assert Familiarity(traits={"sharpness": NEAR}).warning == ""


@pytest.mark.parametrize(
    ("traits", "expected"),
    [({}, None), ({"a": NONE}, None), ({"a": NEAR}, 0.5), ({"a": NEAR, "b": FAR, "c": NONE}, 7.3 / 3.1)],
)
def test_strangeness_is_the_largest_distance_in_limits(traits, expected):
    """What was not measured takes no part."""
    assert Familiarity(traits=traits).strangeness == expected


def test_json_keeps_everything():
    """What is read is what was written, in the same order."""
    slide = Familiarity(traits={"stain": FAR, "sharpness": NEAR, "scores": NONE})
    read = Familiarity.from_json(json.loads(json.dumps(slide.to_json())))
    assert read == slide
    assert list(read.traits) == list(slide.traits)
