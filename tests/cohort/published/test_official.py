"""The splits of the literature that the package ships."""

import csv
from importlib import resources

import pytest

from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.published.official import official_names, official_split, write_official
from mitosieve.cohort.split import PARTS, Split
from mitosieve.errors import SplitError

SIZES = {  # train, validation, test of each fold, as the sources have them
    "midog-2021-baseline": [(120, 30, 0)],
    "midog-2021-uts": [(120, 15, 15)],
    "midog-plus-plus": [(392, 0, 111)],
    "mitos-atypia-14": [(8, 2, 1), (7, 2, 2), (5, 2, 4)],
    "mitos-atypia-14-copy": [(4, 2, 1), (3, 2, 2), (1, 2, 4)],
    "mitos-atypia-14-uts": [(9, 1, 1)],
    "tupac16-uts": [(59, 7, 7)],
}


def cohort_of(folder, cases, unlabelled=()):
    """A cohort of one slide a case, each with a figure where it is labelled."""
    entries = tuple(
        SlideEntry(
            slide_id=case, path=f"{case}.png", case_id=case, domain="d", mpp=0.25, labelled=case not in unlabelled
        )
        for case in cases
    )
    marked = [case for case in cases if case not in unlabelled]
    marks = Annotations.of(
        slide_id=marked, center_l0=[(1, 1)] * len(marked), label=["mitotic figure"] * len(marked),
    )  # fmt: skip
    return Cohort(folder, entries, marks)


@pytest.mark.parametrize("name", official_names())
def test_a_table_has_as_many_cases_as_its_source(name):
    """Parts are disjoint (a table that is not would not load) and of the size that the source has."""
    folds = official_split(name).folds.values()
    assert [tuple(len(fold.part(part)) for part in PARTS) for fold in folds] == SIZES[name]


def test_every_table_has_its_source():
    """A row of the README names each table, and no other."""
    readme = (resources.files("mitosieve.cohort.published") / "splits" / "README.md").read_text(encoding="utf-8")
    rows = [line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")]
    assert sorted(rows) == official_names()


def test_the_folds_of_the_archive_are_those_of_the_copy_with_four_more_cases_to_train_on():
    """Validation and test are the same tissue; 05, 10, 15 and 17 train."""
    copy, archive = official_split("mitos-atypia-14-copy"), official_split("mitos-atypia-14")
    for name, fold in copy.folds.items():
        for part in PARTS:
            more = ("05", "10", "15", "17") if part == "train" else ()
            assert archive.fold(name).part(part) == tuple(sorted([case[1:] for case in fold.part(part)] + [*more]))


def test_an_unknown_split_is_told_by_its_neighbour():
    with pytest.raises(SplitError, match="did you mean 'tupac16-uts'"):
        official_split("tupac-uts")


def test_a_split_is_written_for_the_cases_that_are_there(tmp_path):
    """Cases that the cohort lacks are left out and told; an unlabelled stranger trains; the file loads and fits."""
    cases = [f"{i:03d}" for i in range(31, 51)] + ["151"]
    cohort = cohort_of(tmp_path, cases, unlabelled=("151",))
    written = write_official("midog-2021-uts", cohort)
    split = Split.load(written.path)
    split.check(cohort)
    assert written.path == tmp_path / "splits/midog-2021-uts.json"
    assert split.fold("uts").test == tuple(f"{i:03d}" for i in range(46, 51))
    assert split.fold("uts").train == (*(f"{i:03d}" for i in range(31, 41)), "151")
    assert written.cases == (11, 5, 5)
    assert written.note.startswith("130 of its cases are not here and were left out: 001, 002")
    assert written.note.endswith("1 unlabelled case that it does not name is in train: 151")


@pytest.mark.parametrize("unlabelled", [50, 0])
def test_what_a_table_leaves_out_is_in_no_part(tmp_path, unlabelled):
    """Unlabelled cases too, which would train else; those that the cohort lacks are not spoken of."""
    cases = [f"{i:03d}" for i in range(1, 151 + unlabelled)]
    written = write_official("midog-2021-baseline", cohort_of(tmp_path, cases, cases[150:]))
    fold = Split.load(written.path).fold("baseline")
    assert fold.left_out == tuple(cases[150:])
    assert not {*fold.train, *fold.validation, *fold.test} & set(cases[150:])
    assert written.cases == (120, 30, 0)
    assert "its cases are not here" not in written.note
    assert "does not name" not in written.note


def test_a_part_without_a_labelled_case_is_no_split(tmp_path):
    """Test cases that are absent, or there without labels, leave nothing to score: no file, and the reason."""
    test = official_split("tupac16-uts").fold("uts").test
    for unlabelled in ((), test[:2]):
        cases = [case for i in range(1, 74) if (case := f"{i:02d}") not in test or case in unlabelled]
        written = write_official("tupac16-uts", cohort_of(tmp_path, cases, unlabelled))
        assert written.path is None
        assert written.note == "not written: no labelled case of its test part (fold uts) is here"
    assert not (tmp_path / "splits").exists()


def test_a_split_that_cannot_be_trained_on_says_so(tmp_path):
    """The baseline of MIDOG 2021 tests nothing: written as it is, with what train will say."""
    cases = [f"{i:03d}" for i in range(1, 201)]
    written = write_official("midog-2021-baseline", cohort_of(tmp_path, cases, cases[150:]))
    assert written.note == "as it stands `mitosieve train` refuses it: fold baseline has no test case"
    assert Split.load(written.path) == official_split("midog-2021-baseline")


@pytest.mark.data
def test_the_official_split_of_midog_plus_plus_is_its_authors(data_folder):
    """Column Dataset of datasets_xvalidation.csv, case by case."""
    with (data_folder / "formats/midog/datasets_xvalidation.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    fold = official_split("midog-plus-plus").fold("official")
    for part in ("train", "test"):
        assert fold.part(part) == tuple(f"{int(row['Slide']):03d}" for row in rows if row["Dataset"] == part)


@pytest.mark.data
def test_the_parts_of_midog_2021_hold_the_figures_that_were_counted(data_folder, tmp_path):
    """Figures and imposters of the public JSON: 1,378 / 2,220 train, 194 / 279 validate, 149 / 215 test."""
    whole = import_cohort("midog", data_folder / "formats/midog/MIDOG21.json", tmp_path / "c", mpp=0.25).cohort
    fold = official_split("midog-2021-uts").fold("uts")
    counted = [whole.of_cases(fold.part(part)).counts() for part in PARTS]
    assert [(c["figures"], c["imposters"]) for c in counted] == [(1378, 2220), (194, 279), (149, 215)]
