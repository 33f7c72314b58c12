"""Laws of sampling: nothing of how a patch was sampled tells what it is, nor a training patch from a detection's."""

from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import rescale_points
from mitosieve.method.cascade.window_rule import WindowRule
from mitosieve.method.cascade.windows import WindowConfig
from mitosieve.patch.augment.distortion import Distortion
from mitosieve.patch.augment.variant import AugmentConfig, Variant
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.resampling import INTERPOLATION, on_grid
from mitosieve.patch.view import View
from mitosieve.recipe.recipe import load_recipe
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.train import PatchPool, Places

TELLS = 0.55
"""An area under the curve that says nothing of the class, sampling error included."""


def auc(one, other):
    """How often a value of one exceeds one of the other; the better of both directions."""
    rank = rankdata(np.concatenate([one, other]))[: len(one)].sum()
    share = (rank - len(one) * (len(one) + 1) / 2) / (len(one) * len(other))
    return max(share, 1 - share)


def sharpness(patches):
    """Laplacian variance of each patch."""
    grey = [cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float32) for patch in patches]
    return np.array([cv2.Laplacian(image, cv2.CV_32F)[1:-1, 1:-1].var() for image in grey])


def statistics(patches):
    """By name: sharpness, how far and where the dark lies from the centre, steps at each phase of 8 x 8 blocks."""
    grey = patches.astype(np.float32).mean(axis=3)
    side = grey.shape[1]
    dark, at = grey.max(axis=(1, 2), keepdims=True) - grey, np.arange(side) - (side - 1) / 2
    total = dark.sum(axis=(1, 2))
    x, y = (dark.sum(axis=1) @ at) / total, (dark.sum(axis=2) @ at) / total
    found = {"sharpness": sharpness(patches), "offset x": x, "offset y": y, "offset": np.hypot(x, y)}
    for axis, name in ((2, "x"), (1, "y")):
        step = np.abs(np.diff(grey, axis=axis)).mean(axis=3 - axis)[:, : side // 8 * 8 - 8]
        phase = step.reshape(len(grey), -1, 8).mean(axis=1)
        found |= {f"block {name} {k}": phase[:, k] / phase.mean(axis=1) for k in range(8)}
    return found


def a_jpeg(path, seed, size=(1000, 900)):
    """Noise of several grains, alike everywhere, as a JPEG."""
    generator = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), 190.0) + generator.normal(0, 6, (size[1], size[0], 3))
    for sigma in (1, 3):
        image += 12 * sigma * cv2.GaussianBlur(generator.normal(size=image.shape), (0, 0), sigma)
    assert cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8), (cv2.IMWRITE_JPEG_QUALITY, 80))
    return path


def called_figures(images, mpp, *, per_slide, seed=0, away=None, edge=80):
    """A cohort whose figures are whole pixels drawn at random, `edge` px inside, 150 px away from what `away` gives."""
    generator, entries, marks = np.random.default_rng(seed), [], []
    for path in images:
        height, width = cv2.imread(str(path)).shape[:2]
        entries.append(
            SlideEntry(
                slide_id=path.stem, path=str(path), case_id="c", domain="d", mpp=mpp, width_l0=width, height_l0=height
            )
        )
        drawn = generator.integers((edge, edge), (width - edge, height - edge), (per_slide, 2))
        taken = np.zeros((0, 2)) if away is None else away(path)
        clear = (np.linalg.norm(drawn[:, None] - taken[None], axis=2) > 150).all(axis=1)
        marks += [(path.stem, tuple(map(float, place))) for place in drawn[clear]]
    annotations = Annotations.of(
        slide_id=[mark[0] for mark in marks],
        center_l0=[mark[1] for mark in marks],
        label=[Label.MITOTIC_FIGURE] * len(marks),
        source="drawn",
    )
    return Cohort(images[0].parent, tuple(entries), annotations)


def unturned(cohort, store, recipe):
    """Statistics of the patches that stand unturned in a recipe's training index, and which are figures."""
    rule = WindowRule(
        store=store,
        windows=recipe.windows,
        translate_px=recipe.augment.translate_px,
        varied=frozenset(entry.slide_id for entry in cohort.slides),
        seed=recipe.seed,
    )
    places = Places.concatenate([rule.places(cohort, entry) for entry in cohort.slides])
    places = places[places.index.angle_deg == 0]
    pool = PatchPool.of_places(places, store, recipe.view, cohort)
    rows = np.arange(len(places))
    return statistics(pool.reader.read(rows, Variant.plain(len(rows)))), places.index.label == 1


def telling(cohorts, folder, recipe):
    """The statistics whose AUC for the class is TELLS or more, over cohorts of the same images."""
    store = a_store(cohorts[0], folder, recipe.frame.mpp)
    found, labels = zip(*(unturned(cohort, store, recipe) for cohort in cohorts), strict=True)
    figure = np.concatenate(labels)
    assert min(figure.sum(), (~figure).sum()) > 500
    values = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    areas = {name: auc(value[figure], value[~figure]) for name, value in values.items()}
    return {name: round(float(area), 3) for name, area in areas.items() if area >= TELLS}


def a_store(cohort, folder, mpp):
    store = FrameStore(folder, FrameConfig(mpp=mpp, stain="none"), margin_px=margin_for(128, 16))
    for entry in cohort.slides:
        store.add(entry.slide_id, lambda name=entry.slide_id: cohort.open(name), None)
    return store


@given(st.floats(-50, 50), st.floats(-50, 50), st.integers(1, 40))
def test_the_grid_has_no_nearer_place(x, y, side):
    """A place goes to a corner plus half a side, at most half a px away in x and in y, and stays when asked again."""
    place = np.array([[x, y]])
    found = on_grid(place, side)
    corner = found - (side - 1) / 2
    assert (corner == np.round(corner)).all()
    assert np.abs(found - place).max() <= 0.5 + 1e-5
    assert (on_grid(found, side) == found).all()


def on_noise(folder, recipe):
    """Cohorts of the same JPEGs of noise, each with other places called figures; at the edge where windows are too."""
    images = [a_jpeg(folder / f"{seed}.jpg", seed) for seed in range(4)]
    edge = 0 if recipe.windows.borders else 80
    return [called_figures(images, 0.25, per_slide=12, seed=seed, edge=edge) for seed in range(8)]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chsnet-paper", "chsnet-small"])
def test_nothing_of_sampling_tells_figures_from_background(tmp_path, name):
    """Random places of noise called figures: no statistic of unturned patches tells them from windows."""
    recipe = load_recipe(name)
    assert telling(on_noise(tmp_path, recipe), tmp_path / "frames", recipe) == {}


def test_the_bare_grid_of_windows_would_tell(tmp_path):
    """What the test above must see: without jitter the phase of JPEG blocks tells the classes apart."""
    recipe = load_recipe("chsnet-paper").model_copy(update={"windows": WindowConfig(jitter_px=1)})
    assert {"block x 7", "block y 7"} <= set(telling(on_noise(tmp_path, recipe)[:3], tmp_path / "frames", recipe))


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("source", ["unlabelled", "mitos14"])
def test_nothing_of_sampling_tells_figures_from_background_on_tissue(tmp_path, data_folder, source):
    """As above on tissue of many organs at its own resolution, and on breast resampled, away from its marks."""
    folder = data_folder / source
    images = sorted((folder / "frames").glob("*.jpg"))[::6] if source == "mitos14" else sorted(folder.glob("*.jpg"))
    marks = pd.read_csv(folder / "labels.csv") if source == "mitos14" else None

    def away(path):
        return np.zeros((0, 2)) if marks is None else marks.loc[marks["image"] == path.name, ["x", "y"]].to_numpy()

    cohort = called_figures(images, 0.25 if marks is None else 0.2273, per_slide=8, away=away)
    assert telling([cohort], tmp_path, load_recipe("chsnet-paper")) == {}


@pytest.mark.parametrize("mpp_l0", [0.25, 0.2273])
def test_training_and_detection_cut_the_same_bytes(tmp_path, mpp_l0):
    """At proposals and at marks between pixels, for every view: a pool's plain patch is what a tile reader cuts."""
    cohort = called_figures([a_jpeg(tmp_path / "a.jpg", 1, (700, 600))], mpp_l0, per_slide=40)
    views = (View(mpp=0.5, views="one", patch_px=32), View(views="one", patch_px=64), View(views="two", patch_px=128))
    plan = Plan(
        frame=FrameConfig(stain="none"), proposer=NucleiProposer(), views=views, reach_um=0.0, stain_target=None
    )
    with cohort.open("a") as slide:
        reader = TileReader(slide, plan, survey(slide, plan))
        core = reader.bands()[0][0]
        marks = rescale_points(cohort.annotations.center_l0, mpp_from=mpp_l0, mpp_to=0.25)
        center = np.concatenate([reader.places(core)[:60], marks, marks + 0.31])
        cut = [reader.cut(core, stage, center) for stage in range(len(views))]
    center_l0 = rescale_points(center, mpp_from=0.25, mpp_to=mpp_l0)
    for view, images in zip(views, cut, strict=True):
        store = a_store(cohort, tmp_path / f"{view.patch_px}", view.mpp_in(0.25))
        index = PatchIndex.of(slide_id="a", center_l0=center_l0, origin=Origin.FIGURE, mpp=0.25)
        pool = PatchPool.of_places(Places.of_index(index), store, view, cohort)
        rows = np.arange(len(index))
        assert (pool.images(rows, Variant.plain(len(rows))) == images).all()
        assert (pool.images(rows, Distortion.plain(len(rows))) == images).all()


def turned_against_raw(cohort, folder, mpp, side, kernel):
    """AUC of sharpness between patches turned by any angle and raw ones of the same places, and the ratio of means."""
    pool = PatchPool.of_places(
        Places.of_index(
            PatchIndex.concatenate(
                PatchIndex.of(
                    slide_id=entry.slide_id,
                    center_l0=cohort.annotations.of_slide(entry.slide_id).center_l0,
                    origin=Origin.BACKGROUND,
                    mpp=mpp,
                )
                for entry in cohort.slides
            )
        ),
        a_store(cohort, folder, mpp),
        View(mpp=mpp, views="one", patch_px=side),
        cohort,
    )
    rows = np.arange(len(pool.index))
    drawn = AugmentConfig(translate_px=4).draw(len(rows), np.random.default_rng(0))
    plain = Variant.plain(len(rows))
    raw = sharpness(pool.images(rows, plain))
    as_distorted = replace(Distortion.plain(len(rows)), shift_px=drawn.shift_px, angle_deg=drawn.angle_deg)
    turned = [sharpness(pool.images(rows, variation, kernel)) for variation in (drawn, as_distorted)]
    return [auc(values, raw) for values in turned], [float(values.mean() / raw.mean()) for values in turned]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(("mpp", "side", "recipe"), [(0.25, 64, "refined"), (0.5, 32, "screening")])
def test_a_turned_patch_is_as_sharp_as_one_that_detection_cuts(tmp_path, data_folder, mpp, side, recipe):
    """On real tissue, by the kernels of `swift`; bilinear, turned patches are told from raw ones."""
    kernel = getattr(load_recipe("swift"), recipe).augment.interpolation
    images = sorted((data_folder / "mitos14" / "frames").glob("*.jpg"))[::10]
    cohort = called_figures(images, 0.2273, per_slide=60)
    assert max(turned_against_raw(cohort, tmp_path, mpp, side, kernel)[0]) < TELLS
    assert min(turned_against_raw(cohort, tmp_path, mpp, side, "linear")[0]) > 0.62


def test_by_the_default_kernel_a_turned_patch_is_about_as_sharp_as_a_raw_one(tmp_path):
    """Of noise that optics have smoothed, within a twentieth; bilinear, a sixth is lost. By both ways of turning."""
    image = cv2.GaussianBlur(cv2.imread(str(a_jpeg(tmp_path / "a.jpg", 2, (900, 900)))), (0, 0), 0.6)
    assert cv2.imwrite(str(tmp_path / "b.png"), image)
    cohort = called_figures([tmp_path / "b.png"], 0.25, per_slide=200)
    kept, lost = (
        turned_against_raw(cohort, tmp_path / "frames", 0.25, 64, kernel)[1] for kernel in (INTERPOLATION, "linear")
    )
    assert kept == pytest.approx([1, 1], abs=0.05)
    assert max(lost) < 5 / 6
