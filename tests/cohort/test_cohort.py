import math
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import a_cohort, an_image
from layouts import files_below, text
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import SLIDES_FILE, Cohort, SlideEntry
from mitosieve.cohort.version import relocated
from mitosieve.errors import CohortError, SlideError
from tiny import a_cohort as a_phantom_cohort

SLIDES = "slide_id,path,case_id,domain,mpp,labelled,width,height,roi\n"
GOOD = SLIDES + "s1,a.png,c1,d,0.25,yes,400,300,\n"
MARKS = "slide_id,x,y,label,score,votes,source\n"
names = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)

ids_of_slides = names.filter(lambda name: not name.startswith(".") and not set("/\\") & set(name))


@st.composite
def cohorts(draw):
    ids = draw(st.lists(ids_of_slides, min_size=1, max_size=5, unique=True))
    slides = tuple(
        SlideEntry(
            slide_id=name,
            path=draw(names),
            case_id=draw(names),
            domain=draw(names),
            mpp=draw(st.sampled_from([0.05, 0.2273, 0.25, 20.0])),
            labelled=draw(st.booleans()),
            width_l0=draw(st.integers(0, 10**6)),
            height_l0=draw(st.integers(0, 10**6)),
            roi_wkt=draw(st.sampled_from(["", "POLYGON ((0 0, 9 0, 9 9, 0 9, 0 0))"])),
        )
        for name in ids
    )
    marks = draw(st.lists(st.tuples(st.sampled_from(ids), st.integers(-100, 10**6), st.integers(0, 400)), max_size=6))
    labels = draw(st.lists(st.sampled_from(list(Label)), min_size=len(marks), max_size=len(marks)))
    return slides, Annotations.of(
        slide_id=[m[0] for m in marks],
        center_l0=[(m[1] / 4, m[2] / 8) for m in marks],
        label=labels,
        score=[draw(st.sampled_from([math.nan, 0.0, 0.25, 1.0])) for _ in marks],
        votes=[draw(st.sampled_from(["", "1 2 1"])) for _ in marks],
        source=[draw(names) for _ in marks],
    )


@given(content=cohorts())
@settings(max_examples=20)  # each example writes and flushes two files
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, content):
    """Any ids (also with commas, quotes, umlauts), sizes, ROIs and marks survive, in their order; hash included."""
    folder = tmp_path_factory.mktemp("cohort")
    cohort = Cohort(folder, *content)
    cohort.save()
    again = Cohort.load(folder)
    assert again.slides == cohort.slides
    for name in ("slide_id", "center_l0", "label", "score", "votes", "source"):
        np.testing.assert_array_equal(getattr(again.annotations, name), getattr(cohort.annotations, name))
    assert again.hash() == cohort.hash()
    assert {path.name for path in folder.iterdir()} == {"slides.csv", "annotations.csv"}


def test_the_hash_changes_with_any_value_and_not_with_the_folder(tmp_path):
    """A moved mark, another label or mpp is another cohort."""
    cohort = a_cohort(tmp_path / "a")
    moved = replace(cohort.annotations, center_l0=cohort.annotations.center_l0 + 0.25)
    assert Cohort(tmp_path / "b", cohort.slides, cohort.annotations).hash() == cohort.hash()
    assert Cohort(tmp_path / "a", cohort.slides, moved).hash() != cohort.hash()
    assert cohort.with_entries(lambda e: replace(e, mpp=0.5)).hash() != cohort.hash()


def test_the_hash_is_the_same_wherever_the_images_lie(tmp_path):
    """Moved images, or another machine's, make no other cohort; an image of another name does."""
    cohort = a_cohort(tmp_path)
    for places in ("images/{}", "/data/ours/{}", "../{}", "{}"):
        assert (
            cohort.with_entries(lambda e, p=places: replace(e, path=p.format(Path(e.path).name))).hash()
            == cohort.hash()
        )
    assert cohort.with_entries(lambda e: replace(e, path=f"{e.path}.tif")).hash() != cohort.hash()


def test_a_column_of_somebodys_own_is_passed_over(tmp_path):
    """Also one that is called as an optional column in another case: cohorts with it have always been read."""
    cohort = a_cohort(tmp_path)
    for name, column in (("slides.csv", "Source"), ("annotations.csv", "Votes")):
        header, *rows = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        names = header.split(",")
        kept = [number for number, one in enumerate(names) if one != column.lower()]
        lines = [",".join([column, *(names[number] for number in kept)])]
        lines += [",".join(["ours", *(row.split(",")[number] for number in kept)]) for row in rows]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    loaded = Cohort.load(tmp_path)
    assert loaded.counts() == cohort.counts()
    assert {entry.source for entry in loaded.slides} == {""}


def test_parts_by_case_and_by_domain_are_partitions(tmp_path):
    """Every slide and mark of the whole is in one part, in order."""
    cohort = a_cohort(tmp_path, cases=4, slides_per_case=2)
    for parts in (
        [cohort.of_cases((case,)) for case in cohort.cases],
        [cohort.of_domain(domain) for domain in ("d0", "d1")],
    ):
        assert sorted(e.slide_id for part in parts for e in part.slides) == sorted(e.slide_id for e in cohort.slides)
        assert sum(len(part.annotations) for part in parts) == len(cohort.annotations)
        assert all(set(part.annotations.slide_id) <= {e.slide_id for e in part.slides} for part in parts)
    assert cohort.of_cases(()).slides == ()


def test_a_cohort_merges_with_strangers_only(tmp_path):
    """Slides and marks follow; a slide in both is refused."""
    cohort = a_cohort(tmp_path, cases=3)
    one, rest = cohort.of_cases(("c0",)), cohort.of_cases(("c1", "c2"))
    assert one.merged(rest).slides == cohort.slides
    with pytest.raises(CohortError, match="'c0_s0' stands twice"):
        one.merged(cohort)


def test_a_column_of_sources_is_there_only_where_one_is_named(tmp_path):
    """A cohort without sources keeps its bytes and hash; with one it comes back as it was. Its other slides have their
    domain for a source.
    """
    plain = a_cohort(tmp_path / "plain")
    assert "source" not in (plain.save() / SLIDES_FILE).read_text().splitlines()[0].split(",")
    named = plain.with_entries(lambda e: replace(e, source="ring" if e == plain.slides[0] else ""))
    loaded = Cohort.load(named.save(tmp_path / "named"))
    assert loaded.source_of == {
        e.slide_id: "ring" if e.slide_id == plain.slides[0].slide_id else e.domain for e in plain.slides
    }
    assert [entry.source for entry in loaded.slides] == ["ring", *[""] * (len(plain.slides) - 1)]
    assert loaded.hash() == named.hash() != plain.hash()


def test_a_relocated_cohort_still_finds_its_images(tmp_path):
    """Saved elsewhere, relative paths became absolute."""
    moved = relocated(a_cohort(tmp_path / "a"), tmp_path / "b")
    moved.save()
    assert Cohort.load(tmp_path / "b").open("c0_s0").size_l0 == (400, 300)


def test_a_slide_opens_with_the_cohorts_resolution(tmp_path):
    """slides.csv decides the mpp; the slide's name is its slide_id."""
    slide = a_cohort(tmp_path, mpp=0.31).open("c1_s0")
    assert (slide.mpp, slide.slide_id) == (0.31, "c1_s0")


def test_a_missing_image_and_one_of_another_size_are_slide_errors(tmp_path):
    """One slide fails with its path and the remedy; the others can go on (exit 1)."""
    cohort = a_cohort(tmp_path)
    an_image(tmp_path / "images/c0_s0.png", width=200, height=150)
    with pytest.raises(SlideError, match=r"is 200 x 150 px, but slides.csv says 400 x 300 px"):
        cohort.open("c0_s0")
    (tmp_path / "images/c1_s0.png").unlink()
    with pytest.raises(SlideError, match=r"c1_s0.png: the image of this slide is missing"):
        cohort.open("c1_s0")
    with pytest.raises(CohortError, match="has no slide 'c9'"):
        cohort.open("c9")


def test_the_area_is_that_of_the_roi_else_of_the_slide_else_unknown():
    """mm2 from level-0 px2 and mpp."""
    entry = SlideEntry(slide_id="s", path="p", case_id="c", domain="d", mpp=0.5, width_l0=2000, height_l0=1000)
    assert entry.area_mm2 == pytest.approx(0.5)
    assert replace(entry, roi_wkt="POLYGON ((0 0, 1000 0, 1000 1000, 0 1000, 0 0))").area_mm2 == pytest.approx(0.25)
    assert math.isnan(replace(entry, width_l0=0).area_mm2)


@pytest.mark.parametrize(
    ("wkt", "px2"),
    [
        ("POLYGON ((-1000 -1000, 1000 -1000, 1000 1000, -1000 1000, -1000 -1000))", 200 * 100),
        ("POLYGON ((100 -9, 900 -9, 900 40, 100 40, 100 -9))", 100 * 40.5),
        ("POLYGON ((10 10, 30 10, 30 20, 10 20, 10 10))", 200),
        ("POLYGON ((-0.5 -0.5, 200 -0.5, 200 100, -0.5 100, -0.5 -0.5))", 200 * 100),
        ("MULTIPOLYGON (((-9 -9, 9 -9, 9 9, -9 9, -9 -9)), ((300 0, 310 0, 310 9, 300 9, 300 0)))", 9.5 * 9.5),
    ],
)
def test_no_area_is_larger_than_its_image(wkt, px2):
    """What reaches over the edge holds nothing that could be searched."""
    entry = SlideEntry(slide_id="s", path="", case_id="c", domain="d", mpp=1.0, width_l0=200, height_l0=100)
    assert replace(entry, roi_wkt=wkt).area_mm2 == pytest.approx(px2 / 1e6)
    assert replace(entry, roi_wkt=wkt).area_mm2 <= entry.area_mm2


def test_columns_of_size_and_roi_may_be_left_out(tmp_path):
    """What a person writes by hand is six columns and four."""
    text(tmp_path / "slides.csv", "slide_id,path,case_id,domain,mpp,labelled\ns1,a.png,c1,d,0.25,no\n")
    text(tmp_path / "annotations.csv", "slide_id,x,y,label\ns1,1,2,imposter\n")
    cohort = Cohort.load(tmp_path)
    assert (cohort.slides[0].width_l0, cohort.slides[0].labelled, cohort.annotations.votes.tolist()) == (0, False, [""])
    assert np.isnan(cohort.annotations.score).all()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("s1,a.png,c1,d,,yes,,,", "line 2: mpp is ''"),
        ("s1,a.png,c1,d,0,yes,,,", "line 2: mpp is '0'"),
        ("s1,a.png,c1,d,-1,yes,,,", "line 2: mpp is '-1'"),
        ("s1,a.png,c1,d,nan,yes,,,", "line 2: mpp is 'nan'"),
        ("s1,a.png,c1,d,40x,yes,,,", "line 2: mpp is '40x'"),
        ("s1,a.png,c1,d,0.25,maybe,,,", "line 2: labelled is 'maybe'"),
        ("../s1,a.png,c1,d,0.25,yes,,,", "line 2: slide_id is '../s1'; it names files"),
        (",a.png,c1,d,0.25,yes,,,", "line 2: slide_id is empty"),
        ("s1,a.png,,d,0.25,yes,,,", "line 2: case_id is empty"),
        ("s1,a.png,c1,d,0.25,yes,1.5,3,", "line 2: width is '1.5'"),
        ("s1,a.png,c1,d,0.25,yes,-4,3,", "line 2: width is '-4'"),
        ("s1,a.png,c1,d,0.25,yes,,,POLYGON", "line 2: "),
        ('s1,a.png,c1,d,0.25,yes,,,"POLYGON ((0 0, 9 9, 9 0, 0 9, 0 0))"', "line 2: roi is empty"),
        ('s1,a.png,c1,d,0.25,yes,9,9,"POLYGON ((10 0, 19 0, 19 9, 10 0))"', "roi lies outside of the image"),
        ("s1,a.png,c1,d,0.25", "line 2: has 5 values where the header has 9"),
        ("s1,a.png,c1,d,0.25,yes,,,\ns1,b.png,c1,d,0.25,yes,,,", "slide_id 's1' stands twice"),
    ],
)
def test_a_bad_slide_row_is_refused_by_file_and_line(tmp_path, row, message):
    """One message with file, line and remedy."""
    text(tmp_path / "slides.csv", SLIDES + row + "\n")
    text(tmp_path / "annotations.csv", MARKS)
    with pytest.raises(CohortError, match=message) as caught:
        Cohort.load(tmp_path)
    assert str(tmp_path / "slides.csv") in str(caught.value)
    assert "remedy:" in str(caught.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"s1,nan,2,imposter,,,", "line 2: x is 'nan'"),
        (b"s1,1,,imposter,,,", "line 2: y is ''"),
        (b"s1,1,two,imposter,,,", "line 2: y is 'two'"),
        (b"s1,1,2,hard,,,", "line 2: label is 'hard'"),
        (b"s1,1,2,imposter,7,,", "line 2: score is '7'"),
        (b"s1,1,2,imposter,nan,,", "line 2: score is 'nan'"),
        (b"s1,1,2,imposter", "line 2: has 4 values where the header has 7"),
        (b"s1,1,2,imposter,,,,9", "line 2: has 8 values"),
        (b"s1,1,2,imposter,,,\xff", "line 2: is not UTF-8"),
        (b"s9,1,2,imposter,,,", "marks name slides that are not in slides.csv: s9"),
    ],
)
def test_a_bad_mark_is_refused_by_file_and_line(tmp_path, row, message):
    """One message with file, line and remedy."""
    text(tmp_path / "slides.csv", GOOD)
    (tmp_path / "annotations.csv").write_bytes(MARKS.encode() + row + b"\n")
    with pytest.raises(CohortError, match=message) as caught:
        Cohort.load(tmp_path)
    assert str(tmp_path / "annotations.csv") in str(caught.value)
    assert "remedy:" in str(caught.value)


def test_a_folder_that_is_gone_or_lacks_a_file_is_refused(tmp_path):
    """The path is named."""
    with pytest.raises(CohortError, match="no such cohort folder"):
        Cohort.load(tmp_path / "gone")
    text(tmp_path / "slides.csv", GOOD)
    with pytest.raises(CohortError, match=r"annotations.csv: is missing"):
        Cohort.load(tmp_path)
    text(tmp_path / "annotations.csv", "")
    with pytest.raises(CohortError, match=r"annotations.csv: is empty"):
        Cohort.load(tmp_path)


@pytest.mark.parametrize("name", ["slides.csv", "annotations.csv"])
def test_columns_of_somebodys_own_are_not_written_over(tmp_path, name):
    """They would be gone: saving in place is refused before anything is written; elsewhere the cohort is saved."""
    cohort = a_cohort(tmp_path / "c", cases=1)
    table = cohort.folder / name
    head, *rows = table.read_text().splitlines()
    table.write_text("\n".join([f"{head},grade,mine,", *(f"{row},2,b," for row in rows), ""]))
    before = files_below(cohort.folder)
    read = Cohort.load(cohort.folder)
    for target in (None, cohort.folder):
        with pytest.raises(CohortError, match="does not know and would not keep: grade, mine") as caught:
            read.save(target)
        assert caught.value.where == str(table)
        assert "a file of their own" in caught.value.remedy
        assert files_below(cohort.folder) == before
    assert Cohort.load(read.save(tmp_path / "new")).hash() == cohort.hash()


def test_saving_what_was_loaded_changes_no_byte(tmp_path):
    """A cohort file is stable."""
    a_cohort(tmp_path)
    before = files_below(tmp_path)
    Cohort.load(tmp_path).save()
    assert files_below(tmp_path) == before


DYING = """
import os, signal, sys
from pathlib import Path
from mitosieve.cohort.cohort import Cohort
cohort = Cohort.load(sys.argv[1])
moved, at = [], int(sys.argv[3])
replace = Path.replace
def dying(self, target):
    if self.name.endswith(".new"):
        if len(moved) == at:
            os.kill(os.getpid(), signal.SIGKILL)
        moved.append(target)
    return replace(self, target)
Path.replace = dying
cohort.with_entries(lambda entry: entry).save(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("moves", [0, 1])
def test_a_save_that_dies_between_its_moves_is_ended_by_whoever_comes_next(tmp_path, moves, fresh):
    """kill -9 after no move: the folder is as before; after the marks have moved: it is the new cohort, whole."""
    new = Cohort.load(a_phantom_cohort())
    old = new.of_cases(new.cases[:1])
    folder = tmp_path / "c"
    folder.mkdir()
    if not fresh:
        Cohort(folder, old.slides, old.annotations).save()
    died = subprocess.run([sys.executable, "-c", DYING, a_phantom_cohort(), folder, str(moves)], check=False)
    assert died.returncode == -signal.SIGKILL
    if moves == 0 and fresh:
        with pytest.raises(CohortError):
            Cohort.load(folder)
    else:
        found = Cohort.load(folder)
        assert found.hash() == (new if moves else old).hash()
        assert not (folder / ".slides.csv.new").exists() or moves == 0
    Cohort(folder, new.slides, new.annotations).save()
    assert Cohort.load(folder).hash() == new.hash()
    assert {path.name for path in folder.iterdir()} == {"slides.csv", "annotations.csv"}
