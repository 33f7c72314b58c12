"""history.csv: a row as soon as it is known; after a kill no row stands twice, whoever else writes beside it."""

import csv

from mitosieve.train.history import COLUMNS, HistoryTable


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def a_row(step, **more):
    return {"step": step, "loss": step / 10, **more}


def test_rows_come_as_they_are_known(tmp_path):
    """The header at once, new rows once each, an unknown value empty."""
    path = tmp_path / "history.csv"
    table, known = HistoryTable(path, "screening"), []
    table.begin(known)
    assert path.read_text() == ",".join(COLUMNS) + "\n"
    for step in (20, 40):
        known.append(a_row(step, score_figures=None))
        table.tell(known)
        table.tell(known)
    assert [(row["network"], row["step"], row["score_figures"]) for row in rows(path)] == [
        ("screening", "20", ""),
        ("screening", "40", ""),
    ]


def test_a_resumed_training_takes_back_what_its_checkpoint_does_not_know(tmp_path):
    """Rows of this network after the checkpoint go, those of other networks stay where they are."""
    path = tmp_path / "history.csv"
    first, other = HistoryTable(path, "screening"), HistoryTable(path, "other")
    first.begin([])
    other.begin([])
    first.tell([a_row(20), a_row(40)])
    other.tell([a_row(20)])
    first.tell([a_row(20), a_row(40), a_row(60)])
    again = HistoryTable(path, "screening")
    again.begin([a_row(20)])
    again.tell([a_row(20), a_row(40, validation_loss=0.5)])
    assert [(row["network"], row["step"]) for row in rows(path)] == [
        ("other", "20"),
        ("screening", "20"),
        ("screening", "40"),
    ]
    assert rows(path)[-1]["validation_loss"] == "0.5"
