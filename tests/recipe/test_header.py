"""What a recipe says of itself in its first lines."""

import pytest

from mitosieve.errors import RecipeError
from mitosieve.recipe.header import RecipeHeader, read_header, recipe_headers
from mitosieve.recipe.text import recipe_names

LINES = ["# summary: a net: small", "# machine: GPU", "# data: marks", "# minutes: not measured", "# tuned: no case"]


def test_every_recipe_of_the_package_has_its_header():
    """None is listed without what it is, what it needs, and minutes that are a figure or "not measured"."""
    headers = recipe_headers()
    assert list(headers) == recipe_names()
    for header in headers.values():
        assert header.machine in ("GPU", "two CPU cores")
        assert "nothing" in header.tuned or "not written down" in header.tuned or "MITOS-ATYPIA-14" in header.tuned
        assert header.minutes == "not measured" or (header.minutes[0].isdigit() and "MITOS-ATYPIA-14" in header.minutes)


@pytest.mark.parametrize("order", [(0, 1, 2, 3, 4), (3, 1, 4, 0, 2)])
def test_the_first_lines_are_read_in_any_order_and_no_further(order):
    """What stands behind the first other line is no header; a value may hold a colon."""
    text = "\n".join([*(LINES[i] for i in order), "# Free words: more", "# summary: another", 'method = "swift"'])
    expected = RecipeHeader(
        summary="a net: small", machine="GPU", data="marks", minutes="not measured", tuned="no case"
    )
    assert read_header(text, where="x") == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (LINES[1:], "lacks the first line '# summary: ...'"),
        ([*LINES[:2], "", *LINES[2:]], "lacks the first line '# data: ...'"),
        ([*LINES, LINES[0]], "says 'summary' twice"),
        (["# summary:", *LINES[1:]], "says nothing after 'summary:'"),
    ],
)
def test_a_header_that_is_not_whole_is_refused(lines, message):
    """A line that is missing, doubled or empty is named, with the recipe."""
    with pytest.raises(RecipeError, match="recipe mine") as caught:
        read_header("\n".join(lines), where="recipe mine")
    assert message in str(caught.value)
