import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import a_cohort
from layouts import text
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.split import PARTS, Fold, Split
from mitosieve.errors import SplitError
from tiny import mitosieve


@st.composite
def cohorts(draw):
    """Cohorts without images: some cases unlabelled, some with two slides, figures from none to many."""
    slides, marks = [], []
    for case in range(draw(st.integers(4, 14))):
        labelled = case < 4 or draw(st.booleans())
        domain = f"d{draw(st.integers(0, 2))}"
        for number in range(draw(st.integers(1, 2))):
            name = f"c{case}_{number}"
            slides.append(
                SlideEntry(slide_id=name, path=name, case_id=f"c{case}", domain=domain, mpp=0.25, labelled=labelled)
            )
            marks += [name] * draw(st.integers(1 if case < 4 else 0, 9)) * labelled
    annotations = Annotations.of(
        slide_id=marks,
        center_l0=[(1.0, float(i)) for i in range(len(marks))],
        label=[Label.MITOTIC_FIGURE] * len(marks),
    )
    return Cohort("built", tuple(slides), annotations)


def cases_of(cohort, *, labelled):
    return {entry.case_id for entry in cohort.slides if entry.labelled == labelled}


@given(cohort=cohorts(), folds=st.integers(3, 4), seed=st.integers(0, 99))
def test_a_made_split_is_disjoint_complete_and_fits_its_cohort(cohort, folds, seed):
    """Parts share no case, each fold holds all cases, each labelled one is tested once, unlabelled ones only train."""
    split = Split.by_case(cohort, folds=folds, generator=np.random.default_rng(seed))
    assert len(split.folds) == folds
    for fold in split.folds.values():
        listed = [*fold.train, *fold.validation, *fold.test]
        assert len(listed) == len(set(listed))
        assert set(listed) == set(cohort.cases)
        assert cases_of(cohort, labelled=False) <= set(fold.train)
    tested = [case for fold in split.folds.values() for case in fold.test]
    assert sorted(tested) == sorted(cases_of(cohort, labelled=True))
    split.check(cohort)


@given(cohort=cohorts(), seed=st.integers(0, 99))
def test_one_seed_is_one_split_whatever_the_order_of_slides(cohort, seed):
    """The generator alone decides ties; the row order of slides.csv does not enter."""
    one = Split.by_case(cohort, folds=3, generator=np.random.default_rng(seed))
    two = Split.by_case(cohort, folds=3, generator=np.random.default_rng(seed))
    turned = Cohort(cohort.folder, cohort.slides[::-1], cohort.annotations)
    assert one == two == Split.by_case(turned, folds=3, generator=np.random.default_rng(seed))


def test_another_seed_deals_equal_cases_otherwise(tmp_path):
    """Cases that differ in nothing are dealt at random."""
    cohort = a_cohort(tmp_path, cases=9)
    dealt = {
        tuple(Split.by_case(cohort, folds=3, generator=np.random.default_rng(seed)).folds["A"].test)
        for seed in range(8)
    }
    assert len(dealt) > 1


def test_domains_and_figures_are_spread_over_the_folds():
    """Two domains of three cases, three folds: each tests one case of each, and as many figures as the others."""
    figures = {"a1": 30, "a2": 20, "a3": 10, "b1": 30, "b2": 20, "b3": 10}
    slides = tuple(SlideEntry(slide_id=c, path=c, case_id=c, domain=c[0], mpp=0.25) for c in figures)
    marks = [c for c, n in figures.items() for _ in range(n)]
    cohort = Cohort(
        "built",
        slides,
        Annotations.of(slide_id=marks, center_l0=[(0.0, 0.0)] * len(marks), label=[Label.MITOTIC_FIGURE] * len(marks)),
    )
    split = Split.by_case(cohort, folds=3, generator=np.random.default_rng(0))
    for fold in split.folds.values():
        assert sorted(case[0] for case in fold.test) == ["a", "b"]
    sums = [sum(figures[case] for case in fold.test) for fold in split.folds.values()]
    assert sums == [40, 40, 40]


@given(cohort=cohorts(), folds=st.integers(3, 4), seed=st.integers(0, 99))
def test_without_validation_only_the_training_grows(cohort, folds, seed):
    """Each fold tests what it would test with validation, and trains on all the rest: 4/5 and 1/5 of five folds."""
    with_it, without = (
        Split.by_case(cohort, folds=folds, generator=np.random.default_rng(seed), validation=validation)
        for validation in (True, False)
    )
    for name, fold in without.folds.items():
        assert fold.test == with_it.folds[name].test
        assert fold.validation == ()
        assert set(fold.train) == set(cohort.cases) - set(fold.test)
    assert without == with_it.without_validation()
    without.check(cohort)


def test_two_folds_do_without_validation(tmp_path):
    """Halves: each tests what the other trains on."""
    split = Split.by_case(a_cohort(tmp_path, cases=4), folds=2, generator=np.random.default_rng(0), validation=False)
    a, b = split.folds.values()
    assert (a.train, a.test) == (b.test, b.train)


@pytest.mark.parametrize(("cases", "folds", "validation"), [(9, 2, True), (2, 3, True), (9, 0, True), (9, 1, False)])
def test_too_few_folds_or_cases_are_refused(tmp_path, cases, folds, validation):
    """Train would be empty, or a fold would test nothing."""
    cohort = a_cohort(tmp_path, cases=cases)
    with pytest.raises(SplitError, match="folds"):
        Split.by_case(cohort, folds=folds, generator=np.random.default_rng(0), validation=validation)


def test_a_saved_split_is_loaded_as_it_was_and_equal_splits_are_equal_bytes(tmp_path):
    """File in, file out."""
    split = Split.by_case(a_cohort(tmp_path / "c", cases=6), folds=3, generator=np.random.default_rng(5))
    split.save(tmp_path / "a.json")
    Split.load(tmp_path / "a.json").save(tmp_path / "b.json")
    assert Split.load(tmp_path / "a.json") == split
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_a_table_and_its_json_say_the_same(tmp_path):
    """fold,case,part: one row a case and fold."""
    table = text(tmp_path / "t.csv", "fold,case,part\nX,c2,test\nX,c1,validation\nX,c0,train\n")
    split = Split.from_table(table)
    assert split.folds == {"X": Fold(train=("c0",), validation=("c1",), test=("c2",))}
    assert split.fold("X").part("test") == ("c2",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("fold,case\nA,c1\n", "lacks the column part"),
        ("fold,case,part\nA,c1,test\nA,c2,val\n", "line 3: unknown part 'val'"),
        ("fold,case,part\nA,c1\n", "line 2: has 2 values"),
        ("fold,case,part\nA,,test\n", "line 2: has no fold or no case"),
        ("fold,case,part\n", "holds no fold"),
        ("fold,case,part\nA,c1,test\nA,c1,train\n", "fold A has the case c1 in more than one place"),
        ("fold,case,part\nA,c1,test\nA,c1,test\n", "fold A has the case c1 in more than one place"),
        ("fold,case,part\nA,c1,test\nB,c1,test\n", "the folds A and B both test the case c1"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, content, message):
    """With file, line where there is one, and remedy."""
    path = text(tmp_path / "t.csv", content)
    with pytest.raises(SplitError, match=message) as caught:
        Split.from_table(path)
    assert str(path) in str(caught.value)
    assert "remedy:" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not a split file"),
        (b"[]", "is not a split file"),
        (b"\xff", "is not UTF-8"),
        (b'{"folds": {}}', "holds no fold"),
        (b'{"folds": {"A": {"train": [], "validation": []}}}', "is not a split file"),
        (b'{"folds": {"A": {"train": "abc", "validation": [], "test": []}}}', "a part is a list of case names"),
        (b'{"folds": {"A": {"train": [3], "validation": [], "test": []}}}', "a part is a list of case names"),
        (b'{"folds": {"A": {"train": ["c"], "validation": [], "test": ["c"]}}}', "c in more than one place"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, message):
    """Cut, other, binary, or leaking."""
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(SplitError, match=message) as caught:
        Split.load(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_fold_or_part_is_named(tmp_path):
    """With what there is instead."""
    with pytest.raises(SplitError, match="no such split file"):
        Split.load(tmp_path / "gone.json")
    with pytest.raises(SplitError, match=r"gone.csv: is missing"):
        Split.from_table(tmp_path / "gone.csv")
    fold = Fold(train=("a",), validation=("b",), test=("c",))
    with pytest.raises(SplitError, match=r"no fold 'B'\nremedy: choose one of A"):
        Split(folds={"A": fold}).fold("B")
    with pytest.raises(SplitError, match="train, validation, test"):
        fold.part("val")


def check(cohort, **parts):
    Split(folds={"A": Fold(**{part: tuple(parts[part]) for part in PARTS})}).check(cohort, where="split.json")


def test_a_split_that_does_not_fit_its_cohort_is_refused(tmp_path):
    """A stranger, a missed case, an empty part: fold, case and part are named."""
    cohort = a_cohort(tmp_path, cases=4)
    check(cohort, train=["c0", "c3"], validation=["c1"], test=["c2"])
    with pytest.raises(SplitError, match="fold A names cases that the cohort has not: zz"):
        check(cohort, train=["c0", "c3", "zz"], validation=["c1"], test=["c2"])
    with pytest.raises(SplitError, match=r"split.json: fold A misses the labelled cases c3"):
        check(cohort, train=["c0"], validation=["c1"], test=["c2"])
    with pytest.raises(SplitError, match="fold A has no test case"):
        check(cohort, train=["c0", "c3"], validation=["c1", "c2"], test=[])
    with pytest.raises(SplitError, match="fold A has no train case"):
        check(cohort, train=[], validation=["c1", "c2", "c0"], test=["c3"])


def test_a_fold_may_have_no_validation_until_something_asks_for_it(tmp_path):
    """It fits its cohort; who needs validation is told which folds have none, why and what to do."""
    check(a_cohort(tmp_path, cases=4), train=["c0", "c1", "c3"], validation=[], test=["c2"])
    split = Split(
        folds={
            "A": Fold(train=("c0",), validation=(), test=("c1",)),
            "B": Fold(train=("c0",), validation=("c1",), test=("c2",)),
        }
    )
    split.require_validation(["B"], why="it is asked", remedy="mend it")
    with pytest.raises(SplitError, match=r"x.toml: no validation case in fold A, and it is asked\nremedy: mend it"):
        split.require_validation(["A", "B"], why="it is asked", remedy="mend it", where="x.toml")


def test_a_part_without_figures_is_refused(tmp_path):
    """F1 is undefined there; imposters do not help, nor do marks on slides that were not searched."""
    cohort = a_cohort(tmp_path, cases=3)
    kept = (cohort.annotations.slide_id != "c2_s0") | (cohort.annotations.label == Label.IMPOSTER.value)
    with pytest.raises(SplitError, match="no mitotic figure in its test part"):
        check(Cohort(tmp_path, cohort.slides, cohort.annotations[kept]), train=["c0"], validation=["c1"], test=["c2"])


def test_figures_outside_what_was_searched_are_none(tmp_path):
    """They are not scored: a part that has no others is refused, and they weigh nothing when cases are dealt."""
    cohort = a_cohort(tmp_path, cases=4)
    nowhere = "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"
    limited = cohort.with_entries(lambda e: replace(e, roi_wkt=nowhere if e.case_id == "c2" else ""))
    with pytest.raises(SplitError, match="no mitotic figure in its test part"):
        check(limited, train=("c0", "c3"), validation=("c1",), test=("c2",))
    bare = Cohort(limited.folder, limited.slides, limited.known_marks)
    dealt = [Split.by_case(one, folds=3, generator=np.random.default_rng(1)) for one in (limited, bare)]
    assert dealt[0] == dealt[1]


def test_split_prints_the_figures_that_are_learned_from_and_scored(tmp_path):
    """Figures outside what was searched, or on slides that nobody searched, are none."""
    cohort = a_cohort(tmp_path, cases=5)
    parts = text(tmp_path / "t.csv", "fold,case,part\nA,c0,train\nA,c2,train\nA,c3,train\nA,c1,validation\nA,c4,test\n")
    spoilt = {"c2": {"labelled": False}, "c3": {"roi_wkt": "POLYGON ((0 0, 1 0, 1 1, 0 1, 0 0))"}}
    for change, figures in (({}, 6), (spoilt, 2)):
        cohort.with_entries(lambda e, change=change: replace(e, **change.get(e.case_id, {}))).save()
        told = mitosieve("split", tmp_path, "--table", parts, "--out", tmp_path / "s.json")
        assert (told.code, f"\t3, {figures}\t" in told.out) == (0, True)


def test_an_unlabelled_case_may_be_left_out_or_trained_on_but_not_scored(tmp_path):
    """Nothing is known of it."""
    cohort = a_cohort(tmp_path, cases=4).with_entries(lambda e: replace(e, labelled=e.case_id != "c3"))
    check(cohort, train=["c0"], validation=["c1"], test=["c2"])
    check(cohort, train=["c0", "c3"], validation=["c1"], test=["c2"])
    with pytest.raises(SplitError, match="fold A has the unlabelled cases c3 in its test part"):
        check(cohort, train=["c0"], validation=["c1"], test=["c2", "c3"])


def test_a_table_may_leave_unlabelled_cases_to_train(tmp_path):
    """What no fold names goes into train of every fold; what some fold names stays as it stands."""
    cohort = a_cohort(tmp_path, cases=6).with_entries(
        lambda e: replace(e, labelled=e.case_id not in {"c0", "c4", "c5"})
    )
    rows = "X,c1,train\nX,c2,validation\nX,c3,test\nX,c0,train\nY,c2,train\nY,c3,validation\nY,c1,test\n"
    given = Split.from_table(text(tmp_path / "t.csv", f"fold,case,part\n{rows}"))
    made = given.with_unlabelled(cohort)
    assert made.folds == {
        "X": Fold(train=("c0", "c1", "c4", "c5"), validation=("c2",), test=("c3",)),
        "Y": Fold(train=("c2", "c4", "c5"), validation=("c3",), test=("c1",)),
    }
    assert made.cases - given.cases == {"c4", "c5"}
    made.check(cohort)
    assert made.with_unlabelled(cohort) == made


def test_a_table_must_still_name_every_labelled_case(tmp_path):
    """Also one that has unlabelled slides beside its labelled ones: it is not added, and the check names it."""
    cohort = a_cohort(tmp_path, cases=4, slides_per_case=2)
    cohort = cohort.with_entries(lambda e: replace(e, labelled=e.slide_id != "c3_s1"))
    table = text(tmp_path / "t.csv", "fold,case,part\nX,c0,train\nX,c1,validation\nX,c2,test\n")
    made = Split.from_table(table).with_unlabelled(cohort)
    assert made == Split.from_table(table)
    with pytest.raises(SplitError, match="fold X misses the labelled cases c3"):
        made.check(cohort, where=table)


@pytest.mark.data
def test_the_real_folds_are_read_and_fit_their_cohort(data_folder):
    """Fold A of mitos14 tests H04 and validates on H14 and H18; each case is tested once over A, B and C."""
    split = Split.from_table(data_folder / "mitos14/folds.csv")
    assert (split.fold("A").test, split.fold("A").validation) == (("H04",), ("H14", "H18"))
    tested = sorted(case for fold in split.folds.values() for case in fold.test)
    assert tested == ["H03", "H04", "H07", "H11", "H12", "H14", "H18"]
    assert json.loads(json.dumps(split.to_json()))["folds"]["C"]["train"] == ["H04"]


def test_a_case_may_be_left_out_of_a_fold_when_it_is_said(tmp_path):
    """A labelled case that no part names is refused unless it is left out; files and tables keep that."""
    cohort = a_cohort_of_four()
    bare = Split(folds={"A": Fold(train=("c0", "c1"), validation=(), test=("c2",))})
    with pytest.raises(SplitError, match="misses the labelled cases c3"):
        bare.check(cohort)
    split = Split(folds={"A": replace(bare.folds["A"], left_out=("c3",))})
    split.check(cohort)
    assert Split.load(split.save(tmp_path / "split.json")) == split
    rows = "fold,case,part\nA,c0,train\nA,c1,train\nA,c2,test\nA,c3,left out\n"
    assert Split.from_table(text(tmp_path / "folds.csv", rows)) == split
    assert "left out" not in bare.save(tmp_path / "bare.json").read_text()


def test_a_case_left_out_of_a_fold_has_no_part_in_it(tmp_path):
    """A case that is tested and left out in one fold is refused."""
    rows = "fold,case,part\nA,c0,train\nA,c2,test\nA,c2,left out\n"
    with pytest.raises(SplitError, match="c2 in more than one place"):
        Split.from_table(text(tmp_path / "folds.csv", rows))


def a_cohort_of_four():
    slides = tuple(SlideEntry(slide_id=f"s{i}", path=f"s{i}", case_id=f"c{i}", domain="d", mpp=0.25) for i in range(4))
    marks = Annotations.of(
        slide_id=[entry.slide_id for entry in slides],
        center_l0=[(1.0, 1.0)] * 4,
        label=[Label.MITOTIC_FIGURE] * 4,
    )
    return Cohort("built", slides, marks)
