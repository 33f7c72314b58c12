"""Laws of the SlideRunner importer."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from layouts import text, tiff
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.cohort.vocabulary import Meaning
from mitosieve.errors import FormatError

SCHEMA = (
    "CREATE TABLE Slides (uid INTEGER PRIMARY KEY, filename TEXT, width INTEGER, height INTEGER, directory TEXT)",
    "CREATE TABLE Classes (uid INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE Persons (uid INTEGER PRIMARY KEY, name TEXT)",
    "CREATE TABLE Annotations (uid INTEGER PRIMARY KEY, slide INTEGER, type INTEGER, agreedClass INTEGER, deleted INT)",
    "CREATE TABLE Annotations_coordinates (uid INTEGER PRIMARY KEY, coordinateX, coordinateY, slide INTEGER,"
    " annoId INTEGER, orderIdx INTEGER)",
    "CREATE TABLE Annotations_label (uid INTEGER PRIMARY KEY, person INTEGER, class INTEGER, annoId INTEGER)",
    "INSERT INTO Slides (uid, filename, width, height) VALUES (1, 'p1_a.tiff', 400, 300), (2, 'p2_b.tiff', '', NULL)",
    "INSERT INTO Classes VALUES (1, 'Mitosis'), (2, 'Nonmitosis'), (4, 'mast cell')",
)


def a_database(path, *statements, schema=SCHEMA):
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        for statement in (*schema, *statements):
            database.execute(statement)
    return path


def annotation(uid, slide, agreed, *, at=((10, 20),), votes=(), deleted=0):
    """Statements that add one annotation with its coordinates and votes."""
    return [
        f"INSERT INTO Annotations VALUES ({uid}, {slide}, 1, {agreed}, {deleted})",
        *(
            f"INSERT INTO Annotations_coordinates (coordinateX, coordinateY, slide, annoId, orderIdx)"
            f" VALUES ({x}, {y}, {slide}, {uid}, {order})"
            for order, (x, y) in enumerate(at)
        ),
        *(
            f"INSERT INTO Annotations_label (person, class, annoId) VALUES ({person}, {vote}, {uid})"
            for person, vote in enumerate(votes)
        ),
    ]


def test_the_agreed_class_is_the_label_and_the_votes_are_the_score(tmp_path):
    """All votes are kept; their share for figure is the score; without votes it is unknown."""
    source = a_database(
        tmp_path / "a.sqlite",
        *annotation(1, 1, 1, votes=(1, 2, 1)),
        *annotation(2, 1, 2, at=[(30, 40)], votes=(2, 2)),
        *annotation(3, 1, 1, at=[(50, 60)]),
    )
    image = read_labels("slide_runner", source, None).images[0]
    figure, imposter = Label.MITOTIC_FIGURE, Label.IMPOSTER
    assert [(m.x, m.y, m.label) for m in image.marks] == [(10, 20, figure), (30, 40, imposter), (50, 60, figure)]
    assert [m.votes for m in image.marks] == ["1 2 1", "2 2", ""]
    np.testing.assert_allclose([m.score for m in image.marks], [2 / 3, 0, np.nan])
    assert (image.slide_id, image.case_id, image.size_l0, image.labelled) == ("p1_a", "p1", (400, 300), True)


@pytest.mark.parametrize("silent", [0, 9, "NULL", 5])
def test_who_gives_no_class_votes_against_nothing(tmp_path, silent):
    """Class 0, an unknown one, none, or one that means `ignore`: scores are those without it, votes are kept."""
    asked = {"unsure": Meaning.IGNORE} if silent == 5 else {}
    scores, votes = [], []
    for name, more in (("a", ()), ("b", (silent,))):
        source = a_database(
            tmp_path / name,
            "INSERT INTO Classes VALUES (5, 'unsure')",
            *annotation(1, 1, 1, votes=(1, *more)),
            *annotation(2, 1, 1, at=[(90, 90)], votes=(1, 2, *more)),
            *annotation(3, 1, 2, at=[(150, 150)], votes=(*more, 2, 4)),
        )
        marks = read_labels("slide_runner", source, None, rulings=asked).images[0].marks
        scores.append([mark.score for mark in marks])
        votes.append([len(mark.votes.split()) for mark in marks])
    assert scores[0] == scores[1] == [1.0, 0.5, 0.0]
    assert votes == [[1, 2, 2], [2, 3, 3]]


def test_votes_without_a_class_are_no_class_of_the_file(tmp_path):
    """All classes ruled, none a figure: accepted, as without such a vote."""
    votes = annotation(1, 1, 1, votes=(0, 1))
    source = a_database(tmp_path / "a", "DELETE FROM Classes WHERE uid > 1", *votes)
    (mark,) = read_labels("slide_runner", source, None, rulings={"mitosis": Meaning.IMPOSTER}).images[0].marks
    assert (mark.label, mark.votes) == (Label.IMPOSTER, "0 1")


def test_an_area_or_polygon_lies_in_the_middle_of_its_box(tmp_path):
    """Two corners, or any number of vertices."""
    corners, polygon = [(10, 20), (60, 70)], [(0, 0), (100, 10), (90, 60), (5, 50)]
    source = a_database(tmp_path / "a.sqlite", *annotation(1, 1, 1, at=corners), *annotation(2, 1, 1, at=polygon))
    assert [(m.x, m.y) for m in read_labels("slide_runner", source, None).images[0].marks] == [(35, 45), (50, 30)]


def test_what_is_no_mark_is_left_out_and_told(tmp_path):
    """Deleted, not agreed, and other classes; a slide left without marks is unlabelled."""
    source = a_database(
        tmp_path / "a.sqlite",
        *annotation(1, 1, 1),
        *annotation(2, 1, 1, deleted=1),
        *annotation(3, 2, 0, votes=(1, 2)),
        *annotation(4, 2, 4),
        *annotation(5, 2, 4),
        *annotation(6, 2, "NULL"),
    )
    with pytest.raises(FormatError, match=r"'mast cell' \(2 marks\) is not known .*'Mitosis' \(1 mark\)"):
        read_labels("slide_runner", source, None)
    reading = read_labels("slide_runner", source, None, rulings={"Mast Cell": Meaning.OTHER})
    assert [(len(image.marks), image.labelled) for image in reading.images] == [(1, True), (0, False)]
    told = [caution.text for caution in reading.cautions]
    assert any("1 annotations are deleted" in line for line in told)
    assert any("2 annotations have no agreed class" in line for line in told)
    assert any("2 marks of 'mast cell' left out as no figures" in line for line in told)
    assert any("1 slide had marks that were left out and may be figures" in line and "p2_b" in line for line in told)
    empty = a_database(tmp_path / "b.sqlite", *annotation(1, 1, 1), *annotation(2, 2, 1, deleted=1))
    told = [caution.text for caution in read_labels("slide_runner", empty, None).cautions]
    assert any("1 slide without any mark" in line and "p2_b.tiff" in line for line in told)


@pytest.mark.parametrize(
    ("votes", "labelled"),
    [
        ((1, 2), False),
        ((1,), False),
        ((2, 2), True),
        ((2, 4), True),
        ((2, 0), True),
        ((), False),
        ((0,), False),
        ((4, 4), True),
    ],
)
def test_an_undecided_annotation_is_no_background(tmp_path, votes, labelled):
    """Its slide is as with a crowd or a difficult one, unless all its votes say that it is no figure."""
    source = a_database(
        tmp_path / "a.sqlite", *annotation(1, 1, 1), *annotation(2, 1, 0, at=[(90, 90)], votes=votes),
        *annotation(3, 2, 1),
    )  # fmt: skip
    reading = read_labels("slide_runner", source, None, rulings={"mast cell": Meaning.OTHER})
    assert [(len(image.marks), image.labelled) for image in reading.images] == [(1, labelled), (1, True)]
    told = [
        caution.text for caution in reading.cautions if "may be figures (difficult, crowds, undecided)" in caution.text
    ]
    assert ["p1_a.tiff" in line for line in told] == [True] * (not labelled)


def test_an_older_database_without_the_deleted_flag_is_read(tmp_path):
    """And is not changed by being read."""
    schema = [statement.replace(", deleted INT", "") for statement in SCHEMA]
    row = [statement.replace("(1, 1, 1, 1, 0)", "(1, 1, 1, 1)") for statement in annotation(1, 1, 1)]
    source = a_database(tmp_path / "a.sqlite", *row, schema=schema)
    before = source.read_bytes()
    assert len(read_labels("slide_runner", source, None).images[0].marks) == 1
    assert source.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]


def test_it_becomes_a_cohort_with_its_images(tmp_path):
    """An unknown size is taken from the image, a missing image is named; a path of the annotator's machine is cut."""
    source = a_database(
        tmp_path / "a#1?.sqlite",
        *annotation(1, 1, 1),
        "UPDATE Slides SET filename = 'C:\\slides\\p2_b.tiff' WHERE uid = 2",
    )
    tiff(tmp_path / "images/p2_b.tiff", mpp=0.25)
    report = import_cohort("slide_runner", source, tmp_path / "c", images=tmp_path / "images", mpp=0.25)
    assert [(e.slide_id, e.width_l0, e.labelled) for e in report.cohort.slides] == [
        ("p1_a", 400, True),
        ("p2_b", 400, False),
    ]
    assert any("p1_a.tiff" in warning and "not in" in warning for warning in report.warnings)


BROKEN = {
    "unknown slide": (annotation(1, 7, 1), "annotation '1': names the unknown slide '7'"),
    "unknown class": (annotation(1, 1, 8), "annotation '1': names the unknown class '8'"),
    "no coordinate": (annotation(1, 1, 1, at=()), "annotation '1': has no coordinate"),
    "coordinate as text": (annotation(1, 1, 1, at=[("'left'", 3)]), "annotation '1': coordinateX is 'left'"),
    "coordinate missing": (annotation(1, 1, 1, at=[(3, "NULL")]), "annotation '1': coordinateY is 'None'"),
    "no filename": (["UPDATE Slides SET filename = NULL WHERE uid = 2"], "slide '2': has no filename"),
    "size as text": (["UPDATE Slides SET width = 'wide' WHERE uid = 1"], "slide '1': width is 'wide'"),
    "only other classes": (["DELETE FROM Classes WHERE uid < 4"], "none of its classes .*: 'mast cell'"),
    "no classes": (["DELETE FROM Classes"], "none of its classes .*: there are none"),
    "two slides of one name": (["UPDATE Slides SET filename = 'x.tiff'"], "two images would get the slide_id x"),
    **{
        f"no {table}": ([f"DROP TABLE {table}"], f"has no table {table}")
        for table in ("Slides", "Classes", "Annotations", "Annotations_coordinates", "Annotations_label")
    },
    "no agreedClass": (["ALTER TABLE Annotations DROP COLUMN agreedClass"], "Annotations lacks the column agreedClass"),
    "far outside": (annotation(1, 1, 1, at=[(900, 20)]), "annotation '1': its centre .* outside p1_a.tiff"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_database_is_refused_by_its_row(tmp_path, name):
    """One message with file, row and remedy; no cohort appears."""
    statements, message = BROKEN[name]
    source = a_database(tmp_path / "a.sqlite", *statements)
    with pytest.raises(FormatError, match=message) as caught:
        import_cohort("slide_runner", source, tmp_path / "c", mpp=0.25)
    assert "remedy:" in str(caught.value)
    assert not (tmp_path / "c").exists()


def test_what_is_no_database_is_refused(tmp_path):
    """A text file, an empty one, a folder, a database that was cut off."""
    whole = a_database(tmp_path / "a.sqlite", *annotation(1, 1, 1)).read_bytes()
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(whole[: len(whole) // 2])
    for source, message in (
        (
            text(tmp_path / "t.sqlite", "not a database, but long enough to have a header" * 9),
            "is not a SQLite database",
        ),
        (text(tmp_path / "e.sqlite"), "has no table Slides"),
        (tmp_path, "is not a SQLite database"),
        (cut, "is not a SQLite database"),
    ):
        with pytest.raises(FormatError, match=message) as caught:
            read_labels("slide_runner", source, None)
        assert str(source) in str(caught.value)


@pytest.mark.data
def test_the_published_database_holds_749_and_2884(data_folder, tmp_path):
    """MITOS-ATYPIA-14 as the MIDOG group keeps it: figures, imposters, 11 cases, two or three votes each."""
    source = data_folder / "formats/slide_runner/MITOS2014.sqlite"
    report = import_cohort("slide_runner", source, tmp_path / "c", mpp=0.2455)
    total = report.total
    assert (total.figures, total.imposters, total.slides, total.cases) == (749, 2884, 1200, 11)
    votes = [len(row.split()) for row in report.cohort.annotations.votes.tolist()]
    assert sorted({(n, votes.count(n)) for n in votes}) == [(2, 3092), (3, 541)]
    marks = report.cohort.annotations
    assert ((marks.score > 0.5) == (marks.label == Label.MITOTIC_FIGURE)).mean() == 1
