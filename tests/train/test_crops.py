"""In a crop every patch stays inside what shows tissue, negatives are its own, and no shift or turn tells its class."""

from dataclasses import replace

import numpy as np
import pytest

from build import a_cohort, an_image
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.split import Fold
from mitosieve.method.cascade.chsnet import frames_in, gather_patches
from mitosieve.method.cascade.swift import frame_store, gather_proposals
from mitosieve.method.dasc.method import gather
from mitosieve.network.compute import Compute
from mitosieve.patch.augment.distortion import Distortion, confine, confine_variant
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.recipe.recipe import load_recipe
from mitosieve.run.folder import RunFolder
from mitosieve.train.job import Job
from mitosieve.train.pool import crop_rooms
from mitosieve.train.proposals import CropRule, ProposalRule, propose

RECIPE = load_recipe("swift")
SIDE = 128
NUCLEI = ((64, 64), (36, 90), (92, 36), (100, 100))


@pytest.fixture(scope="module")
def crop(tmp_path_factory):
    """A cohort of one crop: a figure in its middle, three nuclei about it."""
    folder = tmp_path_factory.mktemp("crop")
    an_image(folder / "c.png", width=SIDE, height=SIDE, dots=NUCLEI)
    entry = SlideEntry(slide_id="c", path="c.png", case_id="p", domain="d", mpp=0.25, width_l0=SIDE, height_l0=SIDE)
    marks = Annotations.of(slide_id=["c"], center_l0=[NUCLEI[0]], label=[Label.MITOTIC_FIGURE])
    return Cohort(folder, (entry,), marks)


def places_of(cohort, **truth):
    near = RECIPE.truth.model_copy(update=truth)
    rule = CropRule.of(cohort, ProposalRule(plan=RECIPE.plan, truth=near, imposters=False, near=False))
    return rule.places(cohort, cohort.slides[0])


def test_dense_proposals_of_a_crop_are_its_nuclei(crop):
    """Every nucleus that a patch fits round is a place, the middle one the figure; corners are none."""
    places = places_of(crop, crop_per_mm2=5000.0, crop_apart_um=6.0)
    center = places.index.center_l0
    figure = places.index.origin == Origin.FIGURE.value
    assert np.linalg.norm(center[figure] - NUCLEI[0], axis=1).max() < 8
    nuclei = np.array(NUCLEI[1:3])
    near = np.linalg.norm(center[~figure][:, None] - nuclei[None], axis=2)
    assert near.min(axis=0).max() < 6
    assert ((center >= 31.4) & (center <= 95.6)).all()


def test_a_place_may_lie_off_by_so_much_and_no_more(crop):
    """The nucleus at 100 px is 4.5 px beyond where a patch fits: 1 um leaves it out, 2 um takes it."""
    for off_um, taken in ((0.0, False), (0.5, False), (2.0, True)):
        center = places_of(crop, crop_per_mm2=5000.0, crop_apart_um=6.0, crop_off_um=off_um).index.center_l0
        assert (np.linalg.norm(center - NUCLEI[3], axis=1).min() < 4) == taken


def test_a_proposal_on_the_edge_of_the_roi_is_learned_from(crop):
    """As it is scored: an area that ends at a proposal holds it."""
    everywhere = propose(crop, crop.slides[0], RECIPE.plan, per_mm2=5000.0).center_l0
    assert len(everywhere)
    for x, y in everywhere.tolist():
        bounded = replace(crop.slides[0], roi_wkt=f"POLYGON ((0 0, {x!r} 0, {x!r} {y!r}, 0 {y!r}, 0 0))")
        assert [x, y] in propose(crop, bounded, RECIPE.plan, per_mm2=1e6).center_l0.tolist()


def test_without_a_density_corners_are_the_background(crop):
    """Four corners, whatever is there; nearer to a figure than `crop_apart_um` they are none."""
    background = places_of(crop, crop_apart_um=7.5).index
    corners = background.center_l0[background.origin == Origin.BACKGROUND.value]
    assert {tuple(corner) for corner in corners} >= {(x, y) for x in (31.5, 95.5) for y in (31.5, 95.5)}
    far = places_of(crop, crop_apart_um=12.0).index
    assert not (far.origin == Origin.BACKGROUND.value).any()


def test_the_room_is_what_shows_tissue(tmp_path):
    """A crop's ROI bounds its room, at any resolution; a slide of three patches has none."""
    area = "POLYGON ((15.5 -0.5, 127.5 -0.5, 127.5 111.5, 15.5 111.5, 15.5 -0.5))"
    entry = SlideEntry(
        slide_id="c", path="", case_id="p", domain="d", mpp=0.25, width_l0=SIDE, height_l0=SIDE, roi_wkt=area
    )
    cohort = Cohort(tmp_path, (entry,), Annotations.empty())
    assert crop_rooms(cohort, 0.25, 16.0) == {"c": (15.5, -0.5, 127.5, 111.5)}
    assert crop_rooms(cohort, 0.5, 16.0) == {"c": (7.5, -0.5, 63.5, 55.5)}
    assert crop_rooms(cohort, 0.25, 32 / 3) == {}


def test_a_crop_smaller_than_a_patch_has_no_place(crop):
    """Nothing of it can be shown without padding."""
    small = crop.with_entries(lambda e: SlideEntry(**{**vars(e), "mpp": 0.12}))
    assert len(places_of(small, crop_per_mm2=5000.0)) == len(places_of(small)) == 0


def test_variants_of_crops_stay_inside_and_of_slides_are_as_drawn():
    """Angle and shift of limited rows are those of `confine`, right angles and inside; unlimited rows are untouched."""
    generator = np.random.default_rng(5)
    n, side = 200, 64
    center = generator.uniform(20, 108, (n, 2))
    room = np.tile((-0.5, -0.5, SIDE - 0.5, SIDE - 0.5), (n, 1))
    room[::2] = (-np.inf, -np.inf, np.inf, np.inf)
    drawn = AugmentConfig(translate_px=8, rotate="any", flip=True, stain=0.2).draw(n, generator)
    kept = confine_variant(drawn, center, room, side)
    assert (kept.shift_px[::2] == drawn.shift_px[::2]).all()
    assert (kept.angle_deg[::2] == drawn.angle_deg[::2]).all()
    place = (center + kept.shift_px)[1::2]
    assert (np.abs(place - (SIDE - 1) / 2) <= (SIDE - side) / 2 + 1e-9).all()
    assert (kept.angle_deg[1::2] % 90 == 0).all()
    assert (kept.gain == drawn.gain).all()
    same = Distortion(**{**vars(Distortion.plain(n)), "shift_px": drawn.shift_px, "angle_deg": drawn.angle_deg})
    assert (confine(same, center, room, side).shift_px == kept.shift_px).all()


def test_no_patch_of_a_crop_shows_what_is_beyond_it(crop, tmp_path):
    """Read with any variant, at any place of the crop, patches hold the crop's pixels alone: never its margin."""
    store = FrameStore(tmp_path, FrameConfig(stain="none"), margin_px=80)
    store.add("c", lambda: crop.open("c"), None)
    center = np.random.default_rng(3).uniform(0, SIDE, (300, 2))
    index = PatchIndex.of(slide_id="c", center_l0=center, origin=Origin.BACKGROUND, mpp=0.25)
    drawn = AugmentConfig(translate_px=8, rotate="any", flip=True).draw(len(index), np.random.default_rng(4))
    read = {
        kind: PatchReader(index, store, crop.mpp_of, patch_px=64, rooms=rooms).read(np.arange(len(index)), drawn)
        for kind, rooms in (("kept", crop_rooms(crop, 0.25, 16.0)), ("free", {}))
    }
    glass = {kind: (patches.min(axis=3) > 230).any(axis=(1, 2)) for kind, patches in read.items()}  # tissue is pink
    assert glass["free"].mean() > 0.5
    assert not glass["kept"].any()


GATHERS = {
    "chsnet-small": lambda recipe, job: gather_patches(recipe, job, frames_in(recipe, job.file("frames"))),
    "dasc-small": lambda recipe, job: gather(
        recipe, job, FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px)
    ),
    "swift": lambda recipe, job: gather_proposals(
        recipe, job, {name: frame_store(recipe, job, name) for name in recipe.parts}
    ),
}


@pytest.mark.parametrize("with_crop", [True, False])
@pytest.mark.parametrize("name", GATHERS)
def test_crops_of_one_class_are_told(crop, tmp_path, name, with_crop):
    """A crop round a figure has no room for a negative of CHS-NET's or DASC's; swift takes its corners."""
    slides = a_cohort(tmp_path / "slides", cases=2, mpp=0.4)  # 120 um high: no crops
    slides = slides.with_entries(lambda entry: replace(entry, path=str(slides.path_of(entry.slide_id))))
    crops = crop.with_entries(lambda entry: replace(entry, path=str(crop.path_of("c")), case_id="c2"))
    whole = Cohort(tmp_path, slides.slides, slides.annotations)
    if with_crop:
        whole = whole.merged(Cohort(tmp_path, crops.slides, crops.annotations))
    told = []
    job = Job(
        cohort=whole,
        fold=Fold(train=("c0", "c2") if with_crop else ("c0",), validation=("c1",), test=()),
        run=RunFolder(tmp_path / "run"),
        compute=Compute.choose("cpu"),
        progress=lambda *_, **more: told.append(more.get("text", "")),
    )
    recipe = load_recipe(name, ["frame.stain=none"])
    GATHERS[name](recipe, job)
    said = [text for text in told if "are crops, c, and give figures and no negative" in text]
    assert len(said) == (with_crop and name != "swift")
