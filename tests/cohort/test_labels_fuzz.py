"""Mutated files: every importer, and every table of ours that is read again, ends in a result or in one message."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recognise import sources

from build import an_image
from layouts import text
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.formats import FORMATS
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.split import Split
from mitosieve.errors import FormatError, MitosieveError
from mutated import fuzzing, mutate

LONGEST_S = 20


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """One valid source of each format, in a folder of its own."""
    folder = tmp_path_factory.mktemp("valid")
    found = sources(folder)
    return {name: (folder, source.relative_to(folder)) for name, source in found.items()}


def one_message(error):
    text = str(error)
    assert text.count("\n") <= 8
    assert len(text) < 5000
    assert "\0" not in text


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_fuzz_of_an_importer(valid, tmp_path_factory, name):
    """What is imported can be loaded again; what is refused is refused in one message, and nothing is written."""
    folder, source = valid[name]
    work = tmp_path_factory.mktemp(name)

    @fuzzing
    @given(random=st.randoms(use_true_random=False))
    def law(random):
        shutil.rmtree(work)
        top = source.parts[0]
        if (folder / top).is_dir():
            shutil.copytree(folder / top, work / top)
        else:
            work.mkdir()
            shutil.copy(folder / top, work / top)
        files = (
            [work / source]
            if (work / source).is_file()
            else sorted(path for path in (work / top).rglob("*") if path.is_file() and path.suffix != ".png")
        )
        mutate(random.choice(files), random)
        begin = time.monotonic()
        refused = None
        try:
            import_cohort(name, work / source, work / "c", mpp=random.choice([0.25, None]))
            Cohort.load(work / "c")
        except MitosieveError as error:
            refused = error
        if refused is not None:
            one_message(refused)
            assert not (work / "c").exists()
        assert time.monotonic() - begin < LONGEST_S

    law()


@pytest.fixture(scope="module")
def cohort(valid, tmp_path_factory):
    """A cohort with scores, votes and an area, and a split of it."""
    out = tmp_path_factory.mktemp("cohort") / "c"
    square = '"POLYGON ((0 0, 300 0, 300 300, 0 300, 0 0))"'
    rows = "".join(f"p{i}.png,c{i},{i + 9},10.5,mitosis,0.5,1 1 2,{square}\n" for i in range(6))
    out.mkdir()
    (out / "l.csv").write_text("image,case,x,y,label,score,votes,roi\n" + rows)
    made = import_cohort("points", out / "l.csv", out, mpp=0.25, set_name="s").cohort
    Split.by_case(made, folds=3, generator=np.random.default_rng(1)).save(out / "split.json")
    return out


@pytest.mark.parametrize("name", ["slides.csv", "annotations.csv", "split.json"])
def test_fuzz_of_a_cohort_and_its_split(cohort, tmp_path_factory, name):
    """Tables that people edit: loaded, saved and loaded again, or refused in one message."""
    work = tmp_path_factory.mktemp("work")

    @fuzzing
    @given(random=st.randoms(use_true_random=False))
    def law(random):
        shutil.rmtree(work)
        shutil.copytree(cohort, work)
        mutate(work / name, random)
        begin = time.monotonic()
        try:
            read = Cohort.load(work)
            read.counts()
            [entry.area_mm2 for entry in read.slides]
            Cohort.load(read.save(work / "again"))
            split = Split.load(work / "split.json")
            split.check(read)
            Split.load(split.save(work / "again.json"))
        except MitosieveError as error:
            one_message(error)
        assert time.monotonic() - begin < LONGEST_S

    law()


@pytest.mark.data
@pytest.mark.parametrize("name", ["category", "category_id", "digits", "image_id", "large", "vote"])
@pytest.mark.parametrize("reader", ["coco", "midog"])
def test_inputs_from_the_wild(cases_folder, tmp_path, name, reader):
    """Ids as lists, votes of votes, a number of 400 digits and one of 5,000: one message, or what stands there."""
    source = cases_folder / f"labels/14-json-crashes/{name}.json"
    if name == "vote" and reader == "coco":  # COCO has no votes
        assert import_cohort(reader, source, tmp_path / "c", mpp=0.25).total.figures == 1
        return
    with pytest.raises(FormatError) as caught:
        import_cohort(reader, source, tmp_path / "c", mpp=0.25)
    one_message(caught.value)
    assert "remedy:" in str(caught.value)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    """Which of the two is meant nobody knows."""
    source = text(tmp_path / "l.json", '{"images": [], "images": [], "categories": [], "annotations": []}')
    with pytest.raises(FormatError, match=r"names the key '\"images\"' twice"):
        import_cohort("coco", source, tmp_path / "c", mpp=0.25)


def test_an_id_of_another_type_is_told_from_its_look(tmp_path):
    """1 and "1" print alike: quotes tell them apart."""
    content = {
        "images": [{"id": "1", "file_name": "a.png", "width": 400, "height": 300}],
        "categories": [{"id": 1, "name": "mitosis"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
    }
    message = r"annotation '5': names the unknown image '1', which is written '\"1\"' where it is listed"
    with pytest.raises(FormatError, match=message):
        import_cohort("coco", text(tmp_path / "l.json", json.dumps(content)), tmp_path / "c", mpp=0.25)


SIGNS = st.text(st.sampled_from("ab_. \u00a0\u2003-/é"), min_size=1, max_size=6)
NAMES = st.tuples(SIGNS, SIGNS).map("".join)


@fuzzing
@given(names=st.lists(NAMES, min_size=1, max_size=4), said=st.lists(SIGNS, min_size=4, max_size=4))
def test_a_cohort_that_was_written_can_be_read_as_it_was(tmp_path_factory, names, said):
    """Whatever blanks, dots and folders stand in names and cases: read again it is the same, or nothing was written."""
    folder = tmp_path_factory.mktemp("names")
    content = {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": 400, "height": 300, "case_id": said[i], "domain": said[-i]}
            for i, name in enumerate(names)
        ],
        "categories": [{"id": 1, "name": "mitosis"}],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 1, 9, 9]} for i in range(len(names))],
    }
    source = text(folder / "l.json", json.dumps(content))
    try:
        made = import_cohort("coco", source, folder / "c", mpp=0.25).cohort
    except MitosieveError:
        assert not (folder / "c").exists()
        return
    again = Cohort.load(folder / "c")
    assert again.slides == made.slides
    assert again.annotations.slide_id.tolist() == made.annotations.slide_id.tolist()
    assert again.hash() == made.hash()


def test_two_names_that_differ_in_a_blank_are_one_and_refused(tmp_path):
    """`a.png` and `a .png` would both be the slide `a`."""
    source = text(tmp_path / "l.csv", "image,case,x,y,label\na.png,p,1,2,mitosis\na .png,q,1,2,mitosis\n")
    with pytest.raises(FormatError, match="two images would get the slide_id a"):
        import_cohort("points", source, tmp_path / "c", mpp=0.25)
    assert not (tmp_path / "c").exists()


def test_an_image_whose_name_begins_with_a_blank_is_found_again(tmp_path):
    """Also where it lies in the cohort folder itself."""
    an_image(tmp_path / "c/ a.png")
    import_cohort("images", tmp_path / "c", tmp_path / "c", mpp=0.25)
    cohort = Cohort.load(tmp_path / "c")
    assert cohort.path_of(cohort.slides[0].slide_id).is_file()


@pytest.mark.parametrize("sign", ["\ud800", "\0", "\x85", "\r"])
@pytest.mark.parametrize("field", ["file_name", "case_id", "domain", "source", "name"])
def test_a_sign_that_no_table_keeps_is_refused(tmp_path, field, sign):
    """In each text of an image, and in a class's name: one message, and nothing is written."""
    value = f"x{sign}y"
    image = {"id": 1, "file_name": "a.png", "width": 400, "height": 300, "case_id": "p", field: value}
    content = {
        "images": [image],
        "categories": [{"id": 1, "name": value if field == "name" else "mitosis"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
    }
    more = {"set_name": value} if field == "source" else {}
    with pytest.raises(FormatError) as caught:
        import_cohort("coco", text(tmp_path / "l.json", json.dumps(content)), tmp_path / "c", mpp=0.25, **more)
    one_message(caught.value)
    str(caught.value).encode()
    assert not (tmp_path / "c").exists()


def test_a_file_name_in_another_encoding_is_refused(tmp_path):
    """Of a folder of images, and of the label file itself nothing is lost by it."""
    an_image(tmp_path / "images/a.png")
    (tmp_path / "images/a.png").rename(os.fsdecode(os.fsencode(tmp_path / "images") + b"/caf\xe9.png"))
    with pytest.raises(FormatError, match="no table can keep") as caught:
        import_cohort("images", tmp_path / "images", tmp_path / "c", mpp=0.25)
    str(caught.value).encode()
    assert not (tmp_path / "c").exists()
    labels = tmp_path / "l.csv"
    text(labels, "image,case,x,y,label\na.png,p,1,2,mitosis\n")
    strange = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.csv")
    labels.rename(strange)
    made = import_cohort("points", Path(strange), tmp_path / "d", mpp=0.25).cohort
    assert Cohort.load(tmp_path / "d").hash() == made.hash()
    assert made.annotations.source.tolist() == ["caf?.csv"]
