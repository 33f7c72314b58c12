"""The phantom: known truth, exact label noise, the same bytes again, and neither trivial nor senseless pixels."""

import hashlib
import json

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import CohortError, FormatError, InputError
from mitosieve.phantom import Kind, Noise, PhantomConfig, make_phantom, read_truth
from mitosieve.phantom.arrangement import BORDER_UM
from mitosieve.phantom.canvas import MPP
from mitosieve.phantom.cell import BACKGROUND, FIGURE_SHARES, IMPOSTER_SHARES

NOISY = PhantomConfig(
    cases=6, slides_per_case=1, size_px=(768, 700), flipped=0.1, missed=0.15, added=0.2, unlabelled_cases=1
)
TINY = PhantomConfig(cases=2, slides_per_case=1, size_px=(300, 280), missed=0.5)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "noisy"
    make_phantom(folder, NOISY, np.random.default_rng(5))
    return Cohort.load(folder)


@pytest.fixture(scope="module")
def truth(noisy):
    return read_truth(noisy.folder)


def fingerprint(folder, pattern="**/*"):
    """sha256 of every file below a folder, by relative path."""
    files = sorted(path for path in folder.glob(pattern) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def darkness(cohort, slide_id):
    """Optical density in red, where eosin absorbs little: (h, w)."""
    return -np.log((cohort.open(slide_id).read()[..., 0].astype(np.float32) + 1.0) / 256.0)


def test_same_seed_same_bytes(tmp_path):
    """The same configuration and seed give the same bytes in every file; another seed gives other images."""
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        make_phantom(tmp_path / name, TINY, np.random.default_rng(seed))
    first, again, other = (fingerprint(tmp_path / name) for name in "abc")
    assert first == again
    assert len(first) == 2 + 4  # two slides, two tables, the truth, how it was made
    assert all(other[name] != first[name] for name in first if name != "slides.csv")


def test_label_noise_touches_no_pixel(tmp_path):
    """Planted mistakes change marks alone: images and true labels stay."""
    quiet = PhantomConfig(cases=2, slides_per_case=1, size_px=(300, 280))
    make_phantom(tmp_path / "noisy", TINY, np.random.default_rng(3))
    make_phantom(tmp_path / "quiet", quiet, np.random.default_rng(3))
    assert fingerprint(tmp_path / "noisy", "images/*") == fingerprint(tmp_path / "quiet", "images/*")
    noisy, still = read_truth(tmp_path / "noisy"), read_truth(tmp_path / "quiet")
    assert np.array_equal(noisy.true_label, still.true_label)
    assert not np.array_equal(noisy.marked_label, still.marked_label)
    assert (still.noise == Noise.NONE).all()


def test_counts_follow_the_asked_densities(noisy, truth):
    """Figures and imposters per mm2, over the cohort, are within a tenth of what was asked."""
    area = sum(entry.area_mm2 for entry in noisy.slides)
    assert (truth.true_label == Label.MITOTIC_FIGURE).sum() == pytest.approx(NOISY.figures_per_mm2 * area, rel=0.1)
    assert (truth.true_label == Label.IMPOSTER).sum() == pytest.approx(NOISY.imposters_per_mm2 * area, rel=0.1)
    assert (truth.true_label == BACKGROUND).sum() > 5 * len(noisy.annotations)


def test_kind_and_true_label_agree(truth):
    """A phase of division is a figure, a sort of imposter an imposter, everything else background."""
    for name in np.unique(truth.kind):
        rows = truth[truth.kind == name]
        expected = (
            Label.MITOTIC_FIGURE if name in FIGURE_SHARES else Label.IMPOSTER if name in IMPOSTER_SHARES else BACKGROUND
        )
        assert set(rows.true_label) == {str(expected)}
    assert set(FIGURE_SHARES) | set(IMPOSTER_SHARES) <= {Kind(name) for name in np.unique(truth.kind)}


def test_planted_noise_is_exact(noisy, truth):
    """Flipped, missed and added are the rounded shares of labelled cells, and the marks say what noise says."""
    labelled = {entry.slide_id for entry in noisy.slides if entry.labelled}
    rows = truth[np.isin(truth.slide_id, list(labelled))]
    figures, imposters = (int((rows.true_label == label).sum()) for label in Label)
    flipped = rows[rows.noise == Noise.FLIPPED]
    assert (flipped.true_label == Label.MITOTIC_FIGURE).sum() == round(NOISY.flipped * figures)
    assert (flipped.true_label == Label.IMPOSTER).sum() == round(NOISY.flipped * imposters)
    assert (flipped.marked_label != flipped.true_label).all()
    assert (flipped.marked_label != "").all()
    missed = rows[rows.noise == Noise.MISSED]
    assert len(missed) == round(NOISY.missed * figures)
    assert set(missed.true_label) == {Label.MITOTIC_FIGURE.value}
    assert set(missed.marked_label) == {""}
    added = rows[rows.noise == Noise.ADDED]
    assert len(added) == round(NOISY.added * figures)
    assert set(added.true_label) == {BACKGROUND}
    assert set(added.marked_label) == {Label.MITOTIC_FIGURE.value}
    honest = rows[rows.noise == Noise.NONE]
    assert np.array_equal(honest.marked_label, np.where(honest.true_label == BACKGROUND, "", honest.true_label))


def test_marks_are_the_marked_rows_of_the_truth(noisy, truth):
    """annotations.csv holds exactly the rows of truth.csv that carry a mark, at the same places."""
    marked = truth[truth.marked_label != ""]
    assert np.array_equal(noisy.annotations.slide_id, marked.slide_id)
    assert np.array_equal(noisy.annotations.center_l0, marked.center_l0)
    assert np.array_equal(noisy.annotations.label, marked.marked_label)


def test_unlabelled_cases_carry_no_marks_but_are_known(noisy, truth):
    """The last cases are unlabelled and unmarked, while the truth still knows their figures."""
    unlabelled = [entry for entry in noisy.slides if not entry.labelled]
    assert {entry.case_id for entry in unlabelled} == {"case06"}
    rows = truth[truth.slide_id == unlabelled[0].slide_id]
    assert (rows.true_label == Label.MITOTIC_FIGURE).any()
    assert set(rows.marked_label) == {""}
    assert set(rows.noise) == {Noise.NONE.value}


def test_domains_are_scanners_and_cases_stay_on_one(noisy):
    """Cases take the scanners in turn, and every slide has 0.25 um per px and its stated size."""
    by_case = {entry.case_id: entry.domain for entry in noisy.slides}
    assert len(set(by_case.values())) == NOISY.scanners
    assert {entry.mpp for entry in noisy.slides} == {MPP}
    for entry in noisy.slides:
        assert noisy.open(entry.slide_id).size_l0 == NOISY.size_px


def test_marked_cells_keep_apart_and_reach_the_border(truth):
    """No two figures or imposters are nearer than 12 um, all lie on the slide, and some are cut by its edge."""
    rows = truth[truth.true_label != BACKGROUND]
    w, h = NOISY.size_px
    x, y = rows.center_l0.T
    to_border_um = MPP * np.minimum.reduce([x, y, w - 1 - x, h - 1 - y])
    assert to_border_um.min() >= BORDER_UM - 0.01
    assert (to_border_um < 6.0).any()
    for slide_id in np.unique(rows.slide_id):
        centers = rows[rows.slide_id == slide_id].center_l0
        nearest = cKDTree(centers).query(centers, k=2)[0][:, 1]
        assert nearest.min() * MPP >= 12.0


def test_truth_lies_on_dark_cells(noisy, truth):
    """The stain at a cell's centre is denser than around it, for figures, imposters and ordinary nuclei alike."""
    inner, outer = np.zeros((97, 97), np.float32), np.zeros((97, 97), np.float32)
    away = np.hypot(*np.mgrid[-48:49, -48:49]) * MPP
    inner[away < 2.0], outer[(away > 9.0) & (away < 12.0)] = 1.0, 1.0
    contrast = {label: [] for label in np.unique(truth.true_label)}
    for entry in noisy.slides:
        dark = darkness(noisy, entry.slide_id)
        middle, ring = (cv2.filter2D(dark, -1, k / k.sum(), borderType=cv2.BORDER_REFLECT) for k in (inner, outer))
        rows = truth[truth.slide_id == entry.slide_id]
        column, row = np.round(rows.center_l0).astype(int).T
        for label, value in zip(rows.true_label, (middle - ring)[row, column], strict=True):
            contrast[label].append(value)
    for label, values in contrast.items():
        assert np.mean(np.array(values) > 0) > 0.85, label
    assert np.mean(contrast[Label.MITOTIC_FIGURE.value]) > 0.2


def test_darkness_does_not_find_figures(noisy, truth):
    """Dark blobs at the best scale and threshold, chosen with the truth in hand, score F1 < 0.5 within 7.5 um."""
    for sigma_um in (0.5, 1.0, 1.5, 2.0):
        for relative in (False, True):
            score = best_f1_of_blobs(noisy, truth, sigma_um=sigma_um, relative=relative)
            assert 0.1 < score < 0.5, (sigma_um, relative)


def best_f1_of_blobs(cohort, truth, *, sigma_um, relative):
    """F1 of local maxima of smoothed darkness at the best threshold; greedy one-to-one matching, darkest first."""
    found = []
    figures = truth[truth.true_label == Label.MITOTIC_FIGURE]
    for entry in cohort.slides:
        dark = cv2.GaussianBlur(darkness(cohort, entry.slide_id), (0, 0), sigma_um / MPP)
        rows, columns = np.nonzero(dark == cv2.dilate(dark, np.ones((41, 41), np.uint8)))
        peaks = dark[rows, columns] / (np.percentile(dark, 99) if relative else 1.0)
        centers = figures[figures.slide_id == entry.slide_id].center_l0
        free = np.ones(len(centers), dtype=bool)
        for peak in np.argsort(-peaks):
            away = np.where(free, np.hypot(*(centers - (columns[peak], rows[peak])).T) * MPP, np.inf)
            hit = bool(len(centers)) and away.min() <= 7.5
            if hit:
                free[away.argmin()] = False
            found.append((peaks[peak], hit))
    hits = np.array([hit for _, hit in sorted(found, reverse=True)])
    return float((2 * hits.cumsum() / (np.arange(1, len(hits) + 1) + len(figures))).max())


def test_difficulty_zero_is_all_textbook(tmp_path):
    """At difficulty 0 every cell's difficulty is 0; at 1 every marked kind's is 1."""
    for mean in (0.0, 1.0):
        config = PhantomConfig(cases=1, slides_per_case=1, size_px=(300, 280), difficulty=mean)
        make_phantom(tmp_path / str(mean), config, np.random.default_rng(0))
        truth = read_truth(tmp_path / str(mean))
        assert set(truth.difficulty[truth.true_label != BACKGROUND]) == {mean}
        assert set(truth.difficulty[truth.true_label == BACKGROUND]) == {0.0}


def test_progress_counts_every_slide(tmp_path):
    """Progress is told after each slide, and the recipe of the phantom stands beside it."""
    told = []
    generator = np.random.default_rng(11)
    make_phantom(tmp_path / "p", TINY, generator, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 2), (2, 2)]
    made = json.loads((tmp_path / "p" / "phantom.json").read_text())
    assert made["seed"] == 11
    assert PhantomConfig(**{**made["config"], "size_px": tuple(made["config"]["size_px"])}) == TINY


@pytest.mark.parametrize(
    "change",
    [
        {"cases": 0},
        {"cases": 2.5},
        {"slides_per_case": 0},
        {"size_px": (100, 1024)},
        {"size_px": (1024,)},
        {"size_px": (1024, 100_000)},
        {"figures_per_mm2": -1.0},
        {"figures_per_mm2": float("nan")},
        {"figures_per_mm2": 700.0, "imposters_per_mm2": 300.0},
        {"difficulty": 1.01},
        {"scanners": 0},
        {"scanners": 99},
        {"flipped": 0.6, "missed": 0.6},
        {"added": -0.1},
        {"unlabelled_cases": 13},
    ],
)
def test_bad_configuration_is_refused(change):
    """A value out of range is refused with its remedy before anything is drawn."""
    with pytest.raises(InputError, match="remedy"):
        PhantomConfig(**change)


def test_a_folder_in_use_is_refused(tmp_path):
    """Nothing is written over: a folder with something in it is named and left alone."""
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(CohortError, match="holds something"):
        make_phantom(tmp_path, TINY, np.random.default_rng(0))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_or_broken_truth_is_refused(tmp_path):
    """A cohort without truth, and a truth with wrong columns or values, are told apart and named."""
    with pytest.raises(CohortError, match=r"truth\.csv"):
        read_truth(tmp_path)
    header = "slide_id,x,y,true_label,kind,marked_label,noise,difficulty\n"
    for text in (
        "a,b\n1,2\n",
        header + "s,1,2,mitosis,anaphase,,none,0\n",
        header + "s,left,2,background,spindle,,none,0\n",
    ):
        (tmp_path / "truth.csv").write_text(text)
        with pytest.raises(FormatError, match=r"truth\.csv"):
            read_truth(tmp_path)
