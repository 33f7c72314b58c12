"""Laws of proposing components: tiles change nothing, the threshold is the slide's own, and a detector keeps it all."""

import cv2
import numpy as np
import pytest
import shapely
import torch

from mitosieve.cohort.cohort import Cohort
from mitosieve.geometry import rescale_points
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.cutting import cut_patches, margin_for
from mitosieve.patch.frames import FrameConfig, render
from mitosieve.patch.view import View
from mitosieve.sieve import tile_reader
from mitosieve.sieve.cascade import detect_slide
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.components import ComponentProposer
from mitosieve.sieve.propose.haematoxylin import WHOLE_UM, ComponentConfig, find_components, nucleus_threshold
from mitosieve.sieve.stages import plan_of
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.stain import EOSIN_OD, HAEMATOXYLIN_OD, reference_profile
from mitosieve.train.proposals import propose
from tiny import a_cohort, images

TRAINING = ComponentProposer(components=ComponentConfig())
GLASS = (244, 244, 244)
PINK, PURPLE = (
    tuple(int(value) for value in np.rint(256 * np.exp(-np.array(od)) - 1))
    for od in (0.4 * np.array(EOSIN_OD), 0.9 * np.array(HAEMATOXYLIN_OD) + 0.2 * np.array(EOSIN_OD))
)
SIZE = (900, 640)


def tissue(nuclei, size=SIZE):
    """Pink tissue with purple discs (x, y, radius), and glass right of three quarters."""
    pixels = np.empty((size[1], size[0], 3), dtype=np.uint8)
    pixels[:] = PINK
    pixels[:, size[0] * 3 // 4 :] = GLASS
    for x, y, radius in nuclei:
        cv2.circle(pixels, (int(x), int(y)), int(radius), PURPLE, -1)
    return PlainSlide(slide_id="s", path=images()[0], mpp=0.25, pixels=pixels)


def scattered(seed, n):
    """Nuclei that may touch and be cut by the slide's edges."""
    generator = np.random.default_rng(seed)
    return np.stack(
        [
            generator.integers(0, SIZE[0] * 3 // 4 - 20, n),
            generator.integers(0, SIZE[1], n),
            generator.integers(2, 9, n),
        ],
        axis=1,
    )


def a_plan(proposer=None, stain=None, frame_mpp=0.25):
    return Plan(
        frame=FrameConfig(mpp=frame_mpp),
        proposer=proposer or ComponentProposer(),
        views=(View(views="one", patch_px=40),),
        reach_um=0.0,
        stain_target=stain,
    )


def a_reader(slide, plan, roi=None):
    return TileReader(slide, plan, survey(slide, plan), roi)


def places(reader):
    found = [reader.places(core) for band in reader.bands() for core in band]
    return np.concatenate([np.zeros((0, 2)), *found])


def in_order(points):
    return points[np.lexsort((points[:, 0], points[:, 1]))]


def of_whole_plane(slide, config, threshold):
    """Middles of all components, of the slide as one plane with glass round it."""
    margin = 40
    plane = cv2.copyMakeBorder(slide.read_l0(slide.bounds), *[margin] * 4, cv2.BORDER_CONSTANT, value=GLASS)
    return find_components(plane, threshold, config).center_px - margin


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("proposer", [ComponentProposer(), TRAINING], ids=["inference", "training"])
def test_places_are_the_whole_planes_components(monkeypatch, seed, proposer):
    """In tiles of 128 px or in one, each component is named once, at the half-integer its middle lies next to."""
    slide = tissue(scattered(seed, 60))
    reader = a_reader(slide, a_plan(proposer))
    middles = of_whole_plane(slide, proposer.components, reader.survey.cut)
    expected = in_order(np.floor(np.round(middles * 64) / 64) + 0.5)
    assert len(expected) > 15
    np.testing.assert_array_equal(in_order(places(reader)), expected)
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    tiled = a_reader(slide, a_plan(proposer))
    assert len([core for band in tiled.bands() for core in band]) > 10
    np.testing.assert_array_equal(in_order(places(tiled)), expected)


def test_tiles_partition_what_is_near_tissue(monkeypatch):
    """No two tiles overlap, every nucleus lies in one, and the glass is not read."""
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    nuclei = scattered(1, 40)
    slide = tissue(nuclei)
    tiles = [core for band in a_reader(slide, a_plan()).bands() for core in band]
    assert not any(core.clip(other).area_px2 for i, core in enumerate(tiles) for other in tiles[:i])
    owners = np.sum([core.holds(nuclei[:, :2].astype(float)) for core in tiles], axis=0)
    assert (owners == 1).all()
    assert sum(core.area_px2 for core in tiles) < 0.95 * slide.bounds.area_px2


@pytest.mark.parametrize("frame_mpp", [0.25, 0.3])
def test_a_nucleus_on_a_seam_is_named_once(monkeypatch, frame_mpp):
    """Nuclei at every offset to a tile's edges and corners, and at the slide's: one place each, within a pixel."""
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    nuclei = np.array([(x, y, 4) for i, x in enumerate(range(0, 600, 31)) for y in range(i % 7, 640, 63)])
    slide = tissue(nuclei)
    found = places(a_reader(slide, a_plan(frame_mpp=frame_mpp)))
    found = rescale_points(found, mpp_from=frame_mpp, mpp_to=0.25)
    away = np.linalg.norm(found[:, None] - nuclei[None, :, :2], axis=2)
    inner = ((nuclei[:, :2] >= 4) & (nuclei[:, :2] < np.array(SIZE) - 4)).all(axis=1)
    assert len(found) == len(nuclei)
    assert (away.min(axis=0)[inner] < 1).all()
    assert (away.min(axis=0) < 4).all()


def test_a_long_component_disturbs_none_but_its_neighbours(monkeypatch):
    """A streak across many tiles may be named anywhere along it, yet nuclei apart from it are named as ever."""
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    nuclei = [(x, y, 4) for x in range(30, 600, 45) for y in (100, 250, 400, 550)]
    slide = tissue(nuclei)
    before = in_order(places(a_reader(slide, a_plan())))
    pixels = slide.read_l0(slide.bounds).copy()
    pixels[320:330, 10:640] = PURPLE
    assert WHOLE_UM < 630 * 0.25
    after = places(a_reader(PlainSlide(slide_id="s", path=images()[0], mpp=0.25, pixels=pixels), a_plan()))
    np.testing.assert_array_equal(in_order(after[np.abs(after[:, 1] - 325) > 10]), before)


@pytest.mark.parametrize("proposer", [ComponentProposer(), TRAINING], ids=["inference", "training"])
def test_the_threshold_is_otsus_on_the_slides_own_colours(proposer):
    """A slide of one block is its own sample; what its stain is brought to changes neither threshold nor places."""
    slide = tissue(scattered(2, 50))
    plain = a_reader(slide, a_plan(proposer))
    assert plain.survey.cut == nucleus_threshold([slide.read_l0(slide.bounds)], proposer.components)
    stained = a_reader(slide, a_plan(proposer, stain=reference_profile()))
    assert stained.survey.look.transform is not None
    assert stained.survey.cut == plain.survey.cut
    np.testing.assert_array_equal(places(stained), places(plain))


def test_a_network_sees_what_it_was_trained_on():
    """Patches are those of the whole rendered frame, uninterpolated, and do not depend on what was asked before."""
    slide = tissue(scattered(3, 50))
    plan = a_plan(stain=reference_profile())
    reader = a_reader(slide, plan)
    core = reader.bands()[0][0]
    found = reader.find(core)
    frame = render(slide, slide.bounds, mpp=0.25, margin_px=margin_for(40), look=reader.survey.look)
    np.testing.assert_array_equal(found.images, cut_patches(frame, found.center_px, patch_px=40))
    np.testing.assert_array_equal(reader.settle(core, found.center_px), found.center_px)
    np.testing.assert_array_equal(reader.find(core).images, found.images)


def test_only_tissue_and_the_roi_are_looked_at():
    """A speck far out on the glass is no place; inside an ROI places are those of the whole slide."""
    nuclei = scattered(4, 60)
    slide = tissue([*nuclei, (SIZE[0] - 10, 300, 3)])
    whole = places(a_reader(slide, a_plan()))
    assert whole[:, 0].max() < SIZE[0] - 100
    part = places(a_reader(slide, a_plan(), shapely.box(0, 0, 300, 300)))
    inside = whole[(whole <= 300).all(axis=1)]
    assert 0 < len(part) < len(whole)
    np.testing.assert_array_equal(in_order(part), in_order(inside))


def test_a_slide_without_tissue_has_no_places():
    slide = PlainSlide(slide_id="s", path=images()[0], mpp=0.25, pixels=np.full((500, 700, 3), 244, dtype=np.uint8))
    reader = a_reader(slide, a_plan())
    assert reader.bands() == []
    assert len(places(reader)) == 0


def a_detector(proposer):
    torch.manual_seed(0)
    tiny = ChsNetConfig(width=1 / 128)
    stage = Stage(name="only", network=tiny, threshold=0.5)
    config = DetectorConfig(frame=FrameConfig(stain="none"), proposer=proposer, stages=(stage,), keep_above=0.0)
    return Detector(config=config, networks=((build_network(tiny).eval(),),))


def test_a_detector_keeps_its_components(tmp_path):
    """Saved and loaded, the configuration is the same; it says what it looks at, and it looks there."""
    proposer = ComponentProposer(components=ComponentConfig(min_area_um2=0.5, merge_um=3.0, blur_um=0.75, mpp=0.3))
    detector = a_detector(proposer)
    loaded = Detector.load(detector.save(tmp_path / "detector"))
    assert loaded.config.proposer == proposer
    assert plan_of(loaded).mpp == 0.3
    said = proposer.describe(0.25)
    assert said == "haematoxylin components of 0.5 um2 or more, merged within 3 um, at 0.3 um/px"
    assert said in loaded.describe()


def test_detection_and_training_name_the_same_places():
    """On a slide of the cohort, what is proposed for training is what a detector looks at."""
    cohort = Cohort.load(a_cohort())
    entry = cohort.slides[0]
    detector = a_detector(ComponentProposer())
    plan = plan_of(detector)
    found = propose(cohort, entry, plan, settle=True)
    with cohort.open(entry.slide_id) as slide:
        expected = rescale_points(places(a_reader(slide, plan)), mpp_from=0.25, mpp_to=slide.mpp_xy)
        detected = detect_slide(detector, slide, compute=Compute.choose())
    assert len(found.center_l0) > 3
    np.testing.assert_allclose(found.center_l0, expected)
    np.testing.assert_array_equal(found.settled_l0, found.center_l0)
    assert 0 < len(detected) <= len(found.center_l0)
