"""What all readers together say of each cell."""

from mitosieve.annotation import Label
from mitosieve.review.cell import cells_of
from mitosieve.review.decision import Decision

MPP = {"s": 0.25, "t": (0.25, 0.5)}


def a_verdict(key, reader, verdict, x=0.0, y=0.0, slide="s", score=0.4):
    return Decision.now(
        kind="verdict", slide_id=slide, reader=reader, how="gallery", detection_id=key, x_px=x, y_px=y,
        verdict=verdict, score=score, detector="abc",
    )  # fmt: skip


def an_added(reader, x, y, verdict="figure", slide="s"):
    return Decision.now(kind="added", slide_id=slide, reader=reader, how="slide", x_px=x, y_px=y, verdict=verdict)


def test_most_sure_readers_name_a_cell():
    """The majority of figure and imposter decides; unsure is no vote, and a tie or nobody sure names nothing."""
    votes = {
        "all": ("figure", "figure", "figure"),
        "most": ("figure", "imposter", "figure"),
        "tie": ("figure", "imposter", "unsure"),
        "none": ("unsure", "unsure", "unsure"),
        "less": ("imposter", "unsure", "imposter"),
    }
    made = [a_verdict(key, reader, vote) for key, row in votes.items() for reader, vote in zip("abc", row, strict=True)]
    cells = {cell.key: cell for cell in cells_of(made, MPP)}
    figure, imposter = Label.MITOTIC_FIGURE, Label.IMPOSTER
    assert [cells[key].label for key in votes] == [figure, figure, None, None, imposter]
    assert [cells[key].figure_share for key in votes] == [1, 2 / 3, 0.5, None, 0]
    assert list(cells["most"].votes.items()) == [("a", "figure"), ("b", "imposter"), ("c", "figure")]
    assert cells["most"].at == max(decision.at for decision in made if decision.detection_id == "most")
    assert [cell.key for cell in cells_of(made, MPP)] == list(votes)
    only = cells_of(made, MPP, readers=("b",))
    assert [cell.votes for cell in only if cell.key == "most"] == [{"b": "imposter"}]


def test_an_added_cell_is_the_nearest_that_its_reader_has_not_judged():
    """Within 7.5 um, each axis by its own resolution, an added cell joins another's; farther, or its reader's, not."""
    judged = a_verdict("d", "a", "imposter", x=100, y=100)
    near, far, own = an_added("b", 129, 100), an_added("b", 131, 150), an_added("a", 75, 100)
    cells = cells_of([judged, near, far, own], MPP)
    assert [(cell.key, cell.votes, cell.is_added) for cell in cells] == [
        ("d", {"a": "imposter", "b": "figure"}, False),
        (far.id, {"b": "figure"}, True),
        (own.id, {"a": "figure"}, True),
    ]
    assert [cell.keys for cell in cells] == [{"a": "d", "b": near.id}, {"b": far.id}, {"a": own.id}]
    oblong = [an_added("a", 0, 0, slide="t"), an_added("b", 0, 16, slide="t"), an_added("c", 0, -14, slide="t")]
    assert [list(cell.votes) for cell in cells_of(oblong, MPP)] == [["a", "c"], ["b"]]
    assert [cell.score for cell in cells] == [0.4, None, None]


def test_what_a_reader_added_twice_is_one_cell():
    """Within 7.5 um by the um of each axis; one of the two rejected or undone, one figure is left."""
    one, two, far = (an_added("a", *place, slide="t") for place in ((0, 0), (0, 14), (31, 0)))
    other = an_added("b", 1, 1, slide="t")
    cells = cells_of([one, two, far, other], MPP)
    assert [(cell.key, list(cell.votes)) for cell in cells] == [(one.id, ["a", "b"]), (far.id, ["a"])]
    for key in (one.id, two.id):
        again = a_verdict(key, "a", "imposter", slide="t")
        assert [cell.label for cell in cells_of([one, two, again], MPP)] == [Label.MITOTIC_FIGURE]
        undo = Decision.now(kind="undo", slide_id="t", reader="a", how="slide", undoes=key)
        assert [cell.key for cell in cells_of([one, two, undo], MPP)] == [({one.id, two.id} - {key}).pop()]
    both = [a_verdict(key, "a", "imposter", slide="t") for key in (one.id, two.id)]
    assert [cell.is_rejected for cell in cells_of([one, two, *both], MPP)] == [True]
    no = Decision.now(kind="added", slide_id="t", reader="a", how="slide", x_px=0, y_px=1, verdict="imposter")
    unsure = a_verdict(two.id, "a", "unsure", slide="t")
    (cell,) = cells_of([no, two, unsure], MPP)
    assert (cell.key, cell.votes, cell.at) == (no.id, {"a": "unsure"}, unsure.at), "which no cell can be added as"


def test_a_later_verdict_on_an_added_cell_is_its_reader_s():
    """An added cell that its reader calls an imposter later is one cell, with the later vote."""
    added = an_added("a", 5, 5)
    later = a_verdict(added.id, "a", "imposter", x=5, y=5, score=None)
    other = a_verdict(added.id, "b", "figure", x=5, y=5, score=None)
    (cell,) = cells_of([added, later, other], MPP)
    assert (cell.key, cell.is_added, cell.votes) == (added.id, True, {"a": "imposter", "b": "figure"})
    assert cell.label is None


def test_what_was_undone_is_no_vote():
    """A cell whose only decision was undone is none."""
    made = a_verdict("d", "a", "figure")
    undo = Decision.now(kind="undo", slide_id="s", reader="a", how="gallery", undoes=made.id)
    assert cells_of([made, undo], MPP) == []
