"""Mutated files: every importer, and every table of ours that is read again, ends in a result or in one message."""

import json
import shutil
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_recognise import sources

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
