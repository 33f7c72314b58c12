"""What a person is told of counts: nothing that contradicts them."""

import pytest

from mitosieve.cli.terminal import print_counts
from mitosieve.count.summary import SUMMARY_COLUMNS


def a_row(name, *, tissue, figures):
    return dict.fromkeys(SUMMARY_COLUMNS, "") | {"slide_id": name, "tissue_mm2": tissue, "figures": figures}


@pytest.mark.parametrize(
    ("tissue", "figures", "told"), [("0.0000", "0", True), ("0.0000", "3", False), ("", "0", False)]
)
def test_no_figure_is_said_of_slides_without_figures_alone(capsys, tissue, figures, told):
    """A slide on which no tissue was seen and figures were found is not said to have none."""
    print_counts([a_row("a", tissue=tissue, figures=figures), a_row("b", tissue="1.0", figures="5")])
    said = capsys.readouterr().err
    assert ("so no figure" in said) == told
    assert ("no density" in said) == (figures == "3")


@pytest.mark.parametrize(("figures", "told"), [("0", "so no figure"), ("3", "no density")])
def test_tissue_outside_a_roi_is_not_denied(capsys, figures, told):
    """Of a slide that was looked at within a ROI is told what the ROI lacks, and not that the slide has no tissue."""
    print_counts([a_row("a", tissue="0.0000", figures=figures), a_row("b", tissue="0", figures="0")], with_roi={"a"})
    within, whole = (line for line in sorted(capsys.readouterr().err.splitlines(), key=lambda line: ": b" in line))
    assert "no tissue within the ROI of 1 slide" in within
    assert told in within
    assert within.endswith(": a")
    assert "no tissue was found on 1 slide, so no figure: b" in whole
