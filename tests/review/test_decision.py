"""Decisions of readers as lines of JSON."""

import json

import pytest

from mitosieve.errors import FormatError
from mitosieve.review.decision import Decision, new_reader

PLACE = {"x_px": 10.25, "y_px": 4.0}


def a_decision(**changes):
    given = {"kind": "verdict", "slide_id": "s 1", "reader": "anna", "how": "gallery", "detection_id": "d1", **PLACE}
    return Decision.now(**{**given, "verdict": "figure", "score": 0.5, "detector": "abc", **changes})


def kinds():
    nothing = {"detection_id": None, "verdict": None, "score": None, "x_px": None, "y_px": None}
    return [
        a_decision(),
        a_decision(kind="added", detection_id=None, score=None, how="slide", verdict="imposter"),
        a_decision(kind="undo", undoes="0" * 32, **nothing),
        a_decision(kind="looked", area=[[0, 0], [5.5, 0], [5, 5]], **nothing),
        a_decision(kind="looked", **nothing),
        a_decision(slide_id="<img onerror=x>\n\udcff", reader="Zoë Ångström, 病理"),
    ]


@pytest.mark.parametrize("decision", kinds(), ids=lambda d: d.kind)
def test_a_decision_comes_back_from_its_line(decision):
    """A decision of each kind is one ASCII line, and the line is the decision again."""
    line = decision.to_json()
    assert line.isascii()
    assert "\n" not in line
    assert Decision.from_json(line) == decision


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "12"}, "id is '12'"),
        ({"kind": "guess"}, "kind is 'guess'"),
        ({"reader": ""}, "reader is ''"),
        ({"reader": "a\nb"}, "reader is"),
        ({"reader": "x" * 201}, "reader is"),
        ({"at": "yesterday"}, "at is 'yesterday'"),
        ({"at": "2026-01-01T10:00:00+02:00"}, "at is"),
        ({"at": "2026-01-01T10:00:00"}, "at is"),
        ({"x_px": float("nan")}, "x_px is nan"),
        ({"y_px": "4"}, "y_px is '4'"),
        ({"x_px": True}, "x_px is True"),
        ({"score": 1.5}, "score is 1.5"),
        ({"verdict": "maybe"}, "verdict is 'maybe'"),
        ({"verdict": None}, "needs verdict"),
        ({"detection_id": None}, "needs detection_id"),
        ({"x_px": None}, "needs x_px"),
        ({"undoes": "0" * 32}, "has no undoes"),
        ({"area": [[0, 0], [1, 0], [1, 1]]}, "has no area"),
        ({"kind": "added", "detection_id": None, "verdict": "unsure"}, "not unsure"),
        ({"how": "dream"}, "how is 'dream'"),
        ({"slide_id": None}, "slide_id is None"),
        ({"colour": "red"}, "unknown field colour"),
    ],
)
def test_a_wrong_field_is_named(change, said):
    """A field that is wrong, missing or strange is said by its name, with what it must be."""
    content = json.loads(a_decision().to_json())
    with pytest.raises(FormatError) as caught:
        Decision.of({**content, **change})
    assert said in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["id", "kind", "slide_id", "reader", "at", "how"])
def test_what_every_decision_has_cannot_be_left_out(name):
    """A line without one of the six fields that all kinds have is refused by that field's name."""
    content = json.loads(a_decision().to_json())
    del content[name]
    with pytest.raises(FormatError, match=f"lacks the field {name}"):
        Decision.of(content)


@pytest.mark.parametrize(
    "area", [[[0, 0], [1, 1]], [[0, 0, 1]] * 3, [[0, "a"]] * 3, "none", [[0, 0]] * 1001, [1, 2, 3]]
)
def test_an_area_is_a_polygon(area):
    """An area has at least three corners of two finite numbers, and not without end."""
    content = json.loads(kinds()[3].to_json())
    with pytest.raises(FormatError, match="area is"):
        Decision.of({**content, "area": area})


@pytest.mark.parametrize("text", ["", "[]", "7", '{"id":', "nul", "[" * 100_000])
def test_what_is_no_object_is_refused(text):
    """Text that is no JSON object is refused with a remedy, however it is broken."""
    with pytest.raises(FormatError) as caught:
        Decision.from_json(text)
    assert caught.value.remedy


def test_a_reader_has_a_name():
    """A reader's name is taken without blanks around it; nothing and what cannot be shown are refused."""
    assert new_reader("  Anna B. ") == "Anna B."
    for name in ("", "   ", "a\tb", "x" * 201):
        with pytest.raises(FormatError, match="a reader cannot be called"):
            new_reader(name)
