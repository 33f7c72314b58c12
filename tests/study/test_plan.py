"""Laws of a plan: each training once, named by what fixes its result."""

import shutil
from dataclasses import replace

import cv2
import pytest

from build import a_cohort
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold, Split
from mitosieve.errors import RecipeError, RunFolderError, SplitError
from mitosieve.recipe.text import recipe_text
from mitosieve.run.folder import RunFolder
from mitosieve.run.layout import Kind
from mitosieve.study.plan import plan_study
from mitosieve.study.record import test_of as folder_of_test
from mitosieve.study.study import Study, load_study, study_to_toml
from mitosieve.train.known_images import check_images

SPLIT = Split(
    folds={
        "A": Fold(train=("c0",), validation=("c1",), test=("c2",)),
        "B": Fold(train=("c2",), validation=("c0",), test=("c1",)),
    }
)


def a_study(**more):
    rows = [
        {"name": "full"},
        {"name": "alone", "detector": "detector-refined-alone"},
        {"name": "focal", "set": ['loss.kind="focal"']},
    ]
    common = {"title": "t", "reference": "full", "recipe": "chsnet-small", "set": ("cascade.parts_too=true",)}
    return Study.model_validate({**common, "rows": rows, "seeds": [1, 2], **more})


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("cohort"))


def folders_of(*what):
    return {cell: one.folder for cell, one in plan_study(*what, []).of.items()}


def test_rows_that_share_a_training_share_its_folder(cohort, tmp_path):
    """Two rows of one recipe and one of another: two trainings a fold and seed, the first scored with two detectors."""
    plan = plan_study(a_study(), cohort, SPLIT, tmp_path, [])
    assert len(plan.trainings) == 2 * 2 * 2
    assert plan.of["full", "A", 1] is plan.of["alone", "A", 1] is not plan.of["focal", "A", 1]
    both = plan.of["full", "B", 2]
    assert both in plan.trainings
    assert both.detectors == ("detector", "detector-refined-alone")
    assert (both.recipe.seed, both.fold) == (2, "B")
    assert [folder_of_test(name) for name in both.detectors] == ["test", "test-refined-alone"]


def test_the_first_seed_comes_first(cohort, tmp_path):
    """So that a table of everything stands once before any is repeated."""
    seeds = [one.seed for one in plan_study(a_study(), cohort, SPLIT, tmp_path, []).trainings]
    assert seeds == sorted(seeds)


def test_a_folder_is_named_by_what_fixes_its_result(cohort, tmp_path):
    """Another value, fold, seed or split gives another; where the data lie and what rows are called does not."""
    folders = folders_of(a_study(), cohort, SPLIT, tmp_path)
    assert len(set(folders.values())) == 8
    moved = type(cohort)(tmp_path / "elsewhere", cohort.slides, cohort.annotations)
    assert folders_of(a_study(), moved, SPLIT, tmp_path) == folders
    other = replace(SPLIT.folds["A"], validation=(), train=("c0", "c1"))
    changed = folders_of(a_study(), cohort, Split(folds={**SPLIT.folds, "A": other}), tmp_path)
    assert changed["full", "A", 1] != folders["full", "A", 1]
    assert changed["full", "B", 1] == folders["full", "B", 1]
    shorter = folders_of(a_study().with_overrides(["refined.patch_visits=960"]), cohort, SPLIT, tmp_path)
    assert not set(shorter.values()) & set(folders.values())


def a_version(cohort, folder, *, grey=False):
    """A copy of a cohort with images of its own under the same names."""
    copy = Cohort(folder, cohort.slides, cohort.annotations)
    copy.save()
    for entry in cohort.slides:
        image = cv2.imread(str(cohort.path_of(entry.slide_id)), cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR)
        copy.path_of(entry.slide_id).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(copy.path_of(entry.slide_id)), image)
    return copy


def test_a_run_of_other_images_of_the_same_names_is_refused(cohort, tmp_path):
    """Their cohorts have one hash: tables and names. Copies of images will do, and where none is nothing is said."""
    first, same, grey = (a_version(cohort, tmp_path / name, grey=name == "grey") for name in ("first", "same", "grey"))
    assert first.hash() == same.hash() == grey.hash()
    runs = tmp_path / "runs"
    run = plan_study(a_study(), first, SPLIT, runs, []).trainings[0].folder
    RunFolder.create(run, {"cohort": str(first.folder.resolve())}, kind=Kind.TRAIN, resume=False)
    check_images(RunFolder(run), first, ("c0", "c1"))
    for like in (first, same):
        assert plan_study(a_study(), like, SPLIT, runs, []).trainings[0].folder == run
    image = same.path_of("c0_s0")
    content = bytearray(image.read_bytes())
    content[len(content) // 2] ^= 1  # of the same size
    image.write_bytes(content)
    shutil.copyfile(grey.path_of("c1_s0"), first.path_of("c1_s0"))
    for unlike, said in ((first, "1 slides: c1_s0"), (same, "1 slides: c0_s0"), (grey, "2 slides: c0_s0, c1_s0")):
        with pytest.raises(RunFolderError, match=f"was trained on other images of {said}"):
            plan_study(a_study(), unlike, SPLIT, runs, [])
    for entry in grey.slides:
        grey.path_of(entry.slide_id).unlink()
    assert plan_study(a_study(), grey, SPLIT, runs, []).trainings[0].folder == run


def test_a_case_that_is_tested_twice_or_a_fold_that_is_not_there_is_refused(cohort, tmp_path):
    """Pooling would count it twice."""
    twice = Split(folds={"A": SPLIT.folds["A"], "B": SPLIT.folds["A"]})
    with pytest.raises(SplitError, match="c2 is tested in more than one"):
        plan_study(a_study(), cohort, twice, tmp_path, [])
    with pytest.raises(SplitError, match="Z"):
        plan_study(a_study(folds=["Z"]), cohort, SPLIT, tmp_path, [])
    assert plan_study(a_study(folds=["A"]), cohort, twice, tmp_path, []).folds == ("A",)


def test_overrides_of_the_command_are_part_of_the_study(cohort, tmp_path):
    """They name folders as the file's own do, and what is written plans the same folders, wherever it lies."""
    here, out = tmp_path / "here", tmp_path / "out"
    here.mkdir()
    out.mkdir()
    (here / "mine.toml").write_text(recipe_text("chsnet-small"))
    rows = '[[rows]]\nname = "full"\n[[rows]]\nname = "alone"\ndetector = "detector-refined-alone"\n'
    text = 'title = "t"\nreference = "full"\nrecipe = "mine.toml"\ncohort = "data"\nsplit = "split.json"\n'
    (here / "asked.toml").write_text(f'{text}set = ["cascade.parts_too=true"]\n{rows}')
    study = load_study(str(here / "asked.toml")).with_overrides(["refined.patch_visits=960"])
    assert all(row.set[-1] == "refined.patch_visits=960" for row in study.rows)
    folders = folders_of(study, cohort, SPLIT, tmp_path)
    (out / "study.toml").write_text(study_to_toml(study))
    again = load_study(str(out / "study.toml"))
    assert folders_of(again, cohort, SPLIT, tmp_path) == folders
    assert (again.cohort, again.split) == (str(here / "data"), str(here / "split.json"))


def test_what_is_written_means_the_same_from_another_folder(tmp_path, monkeypatch):
    """Paths that were relative to where the command ran are whole in the file."""
    monkeypatch.chdir(tmp_path)
    written = study_to_toml(a_study(recipe="st/mine.toml", cohort="st/c"))
    assert f'recipe = "{tmp_path}/st/mine.toml"' in written
    assert f'cohort = "{tmp_path}/st/c"' in written


@pytest.mark.parametrize("text", ["seed=7", " seed = 7"])
def test_seeds_are_named_as_seeds_alone(text):
    """As an override a seed would make one training of all of them."""
    with pytest.raises(RecipeError, match="seed"):
        a_study().with_overrides([text])
    for more in ({"set": [text]}, {"rows": [{"name": "full", "set": [text]}]}):
        with pytest.raises(ValueError, match="seed"):
            a_study(**more)


def test_seeds_are_trainings_of_their_own(cohort, tmp_path):
    """Each has its provenance: no two have one folder but for the number in its name."""
    folders = folders_of(a_study(seeds=[1, 2, 3]), cohort, SPLIT, tmp_path)
    assert len({folder.name.rsplit("-", maxsplit=1)[-1] for folder in folders.values()}) == len(set(folders.values()))
