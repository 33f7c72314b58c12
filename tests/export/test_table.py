"""Laws of detections.csv."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import FormatError
from mitosieve.export.table import read_detections, write_detections


def some_detections(count=50, *, stages=("screen", "refined"), seed=0, slides=("a", "b, with comma", 'c "q"', "ü")):
    generator = np.random.default_rng(seed)
    stage_score = generator.uniform(0, 1, (count, len(stages)))
    stage_score[generator.uniform(size=stage_score.shape) < 0.3] = np.nan
    return Detections.of(
        slide_id=generator.choice(slides, count),
        center_l0=generator.uniform(-10, 90_000, (count, 2)),
        score=generator.uniform(0, 1, count),
        threshold=0.5,
        stage_names=stages,
        stage_score=stage_score,
    )


def check_close(a, b):
    assert a.slide_id.tolist() == b.slide_id.tolist()
    assert a.center_l0 == pytest.approx(b.center_l0, abs=5.1e-4)
    assert a.score == pytest.approx(b.score, abs=5.1e-7)
    assert a.is_figure.tolist() == b.is_figure.tolist()
    assert a.stage_names == b.stage_names
    assert a.stage_score == pytest.approx(b.stage_score, abs=5.1e-7, nan_ok=True)


def test_a_table_that_is_read_gives_the_same_ids(tmp_path):
    """Positions of four digits, a 5 at the end of each: rounded once, as the table does, not twice."""
    steps = np.random.default_rng(2).integers(-200_000, 900_000_000, (20_000, 2))
    edges = [[-0.0005, 0.0005], [-0.0004, -0.0], [-0.00049999999999999990, 0.0015], [np.nextafter(-0.0005, -1), 2.5]]
    center = np.concatenate([(steps * 10 + 5) / 10_000, edges])
    found = Detections.of(slide_id=["a"] * len(center), center_l0=center, score=np.ones(len(center)))
    ids = detection_ids(found, "f00")
    assert detection_ids(read_detections(write_detections(tmp_path / "d.csv", found)), "f00") == ids
    assert detection_ids(Detections.of(slide_id=["a"], center_l0=[(0.0, 0.0)], score=[1]), "f00") == detection_ids(
        Detections.of(slide_id=["a"], center_l0=[(-0.0, -0.0004)], score=[1]), "f00"
    )


@pytest.mark.parametrize("stages", [(), ("one",), ("screen", "refined")])
@pytest.mark.parametrize("count", [0, 1, 50])
def test_what_is_written_is_read(tmp_path, stages, count):
    """Rows, order, figures, stages and odd slide names survive a round trip, up to the stated digits."""
    detections = some_detections(count, stages=stages)
    check_close(read_detections(write_detections(tmp_path / "d.csv", detections)), detections)


@example("100 %s")
@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1, max_size=12))
def test_any_slide_name_survives(tmp_path_factory, name):
    """Quotes, commas, line breaks and other scripts in a slide's name come back as they were."""
    path = tmp_path_factory.getbasetemp() / "name.csv"
    detections = Detections.of(slide_id=[name], center_l0=[(1, 2)], score=[0.5])
    assert read_detections(write_detections(path, detections)).slide_id.tolist() == [str(np.str_(name))]


def test_a_row_is_written_as_plain_formatting_writes_it(tmp_path):
    """Each line is its fields, positions to 3 digits and scores to 6, joined by commas."""
    detections = some_detections(200)
    lines = write_detections(tmp_path / "d.csv", detections).read_text().splitlines()[1:]
    for line, row in zip(lines, range(200), strict=True):
        one = detections[row : row + 1]
        scores = [f"{value:.6f}" if value == value else "" for value in (*one.score, *one.stage_score[0])]
        x, y = (f"{value:.3f}" for value in one.center_l0[0])
        fields = [x, y, scores[0], "yes" if one.is_figure[0] else "no", *scores[1:]]
        assert line.endswith("," + ",".join(fields))
        assert str(one.slide_id[0]).replace('"', '""') in line


def test_equal_detections_are_equal_bytes(tmp_path):
    """Two writings give one file, and writing what was read gives it again."""
    first = write_detections(tmp_path / "1.csv", some_detections()).read_bytes()
    assert write_detections(tmp_path / "2.csv", some_detections()).read_bytes() == first
    assert write_detections(tmp_path / "3.csv", read_detections(tmp_path / "1.csv")).read_bytes() == first


def test_chunks_do_not_show(tmp_path, monkeypatch):
    """A file written and read in small chunks is the one written whole."""
    whole = write_detections(tmp_path / "1.csv", some_detections()).read_bytes()
    monkeypatch.setattr("mitosieve.export.table._CHUNK", 7)
    monkeypatch.setattr("mitosieve.export.rows.CHUNK", 7)
    assert write_detections(tmp_path / "2.csv", some_detections()).read_bytes() == whole
    check_close(read_detections(tmp_path / "2.csv"), some_detections())


def test_foreign_table_is_read(tmp_path):
    """Any column order, a byte order mark, Windows line ends, further columns; without is_figure all rows count."""
    path = tmp_path / "d.csv"
    path.write_bytes(b"\xef\xbb\xbfscore,note,y,x,slide_id\r\n0.25,hm,2,1.5,a\r\n\r\n1,,4,3,b\r\n")
    found = read_detections(path)
    assert found.slide_id.tolist() == ["a", "b"]
    assert found.center_l0.tolist() == [[1.5, 2], [3, 4]]
    assert found.score.tolist() == [0.25, 1]
    assert found.is_figure.all()
    assert found.stage_names == ()


GOOD = "slide_id,x,y,score,is_figure,refined_score\na,1,2,0.5,yes,0.5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column slide_id, x, y, score"),
        ("slide_id,x,score\n", "lacks the column y"),
        (GOOD.replace("refined_score", "x"), "column x more than once"),
        (GOOD + "a,nan,2,0.5,yes,0.5\n", "line 3: x is 'nan'"),
        (GOOD + "a,1,inf,0.5,yes,0.5\n", "line 3: y is 'inf'"),
        (GOOD + "a,1,2,1.5,yes,0.5\n", "line 3: score is '1.5'"),
        (GOOD + "a,1,2,,yes,0.5\n", "line 3: score is ''"),
        (GOOD + "a,1,2,0.5,maybe,0.5\n", "line 3: is_figure is 'maybe'"),
        (GOOD + "a,1,2,0.5,no,-1\n", "line 3: refined_score is '-1'"),
        (GOOD + "a,1,2,0.5,no\n", "line 3: has 5 fields, the header has 6"),
        (GOOD + "a,1,2,0.5,no,1,2\n", "line 3: has 7 fields"),
        (GOOD + ",1,2,0.5,no,1\n", "line 3: slide_id is empty"),
        (GOOD + '"a"b,1,2,0.5,no,1\n', "not a CSV table"),
    ],
)
def test_bad_rows_are_named(tmp_path, text, message):
    """A bad table names the file, the line and the field."""
    path = tmp_path / "d.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_detections(path)
    assert str(path) in str(caught.value)


def test_unreadable_files_are_named(tmp_path):
    """A missing file, a folder and a file of another encoding each get one message."""
    (tmp_path / "l.csv").write_bytes(GOOD.encode() + b"\xe4,1,2,0.5,yes,1\n")
    for path, message in (
        (tmp_path / "l.csv", "UTF-8"),
        (tmp_path / "no.csv", "missing"),
        (tmp_path, "cannot be read"),
    ):
        with pytest.raises(FormatError, match=message):
            read_detections(path)
