"""Laws of looking for places: tiles partition a slide, and a network sees the same cell however it was cut."""

import numpy as np
import pytest
import shapely

from mitosieve.geometry import rescale_points
from mitosieve.patch.cutting import cut_patches, margin_for
from mitosieve.patch.frames import FrameConfig, render
from mitosieve.patch.view import View
from mitosieve.sieve import tile_reader
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import DenseProposer, GridProposer, NucleiProposer
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.slide import open_slide
from mitosieve.slide.stain import reference_profile
from tiny import images

COARSE, FINE = View(mpp=0.5, views="one", patch_px=32), View(views="one", patch_px=64)


def a_plan(proposer=None, stain=None):
    return Plan(
        frame=FrameConfig(),
        proposer=proposer or NucleiProposer(),
        views=(COARSE, FINE),
        reach_um=0.0,
        stain_target=stain,
    )


def a_slide(mpp=0.25, repeat=3):
    """Phantom tissue beside glass."""
    with open_slide(images()[0], mpp=mpp) as slide:
        pixels = slide.read_l0(slide.bounds)
    glass = np.full_like(pixels, 245)
    rows = [np.concatenate([pixels, glass, pixels], axis=1), np.concatenate([glass, glass, glass], axis=1)]
    return PlainSlide(slide_id="s", path=images()[0], mpp=mpp, pixels=np.concatenate((rows * repeat)[:repeat]))


def a_reader(slide, plan, roi=None):
    return TileReader(slide, plan, survey(slide, plan), roi)


def places(reader):
    found = [reader.places(core) for band in reader.bands() for core in band]
    return np.concatenate([np.zeros((0, 2)), *found])


def in_order(points):
    return points[np.lexsort((points[:, 0], points[:, 1]))]


def test_tiles_change_no_proposal(monkeypatch):
    """Cut into tiles of 128 px or not at all, a slide has exactly the same proposals, each once."""
    slide = a_slide()
    whole = in_order(places(a_reader(slide, a_plan())))
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    parts = in_order(places(a_reader(slide, a_plan())))
    assert len(whole) > 50
    assert np.array_equal(parts, whole)
    assert len(np.unique(parts, axis=0)) == len(parts)


def test_the_cut_is_a_density(monkeypatch):
    """Proposals per mm2 of tissue are what the configuration asks for, whatever the tiles."""
    slide = a_slide()
    contrast = NucleiProposer().contrast.model_copy(update={"per_mm2": 300.0})
    plan = a_plan(NucleiProposer(contrast=contrast))
    monkeypatch.setattr(tile_reader, "TILE_PX", 200)
    reader = a_reader(slide, plan)
    assert len(places(reader)) / reader.survey.tissue.area_mm2 == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("proposer", [NucleiProposer(), DenseProposer()], ids=["nuclei", "dense"])
def test_glass_is_not_read(monkeypatch, proposer):
    """No tile reaches far into the glass: only what lies within some 24 um of tissue is a tile."""
    monkeypatch.setattr(tile_reader, "TILE_PX", 256)
    slide = a_slide()
    tiles = [core for band in a_reader(slide, a_plan(proposer)).bands() for core in band]
    scale = 0.5 / 0.25
    area = sum(core.area_px2 for core in tiles) * scale**2
    assert 0 < area < 0.75 * slide.bounds.area_px2
    assert not any(core.clip(other).area_px2 for i, core in enumerate(tiles) for other in tiles[:i])


def test_a_grid_looks_everywhere():
    """CHS-NET's own grid covers every place, glass too."""
    slide = a_slide()
    found = places(a_reader(slide, a_plan(GridProposer(stride_px=32))))
    assert len(found) == (slide.size_l0[0] // 32) * (slide.size_l0[1] // 32)


@pytest.mark.parametrize("mpp", [0.25, 0.2273, 0.4])
@pytest.mark.parametrize("stage", [0, 1])
def test_a_network_sees_what_it_was_trained_on(mpp, stage):
    """Patches cut for detection, alone or from a tile, are those of the whole rendered frame, to one grey level."""
    slide = a_slide(mpp, repeat=1)
    plan = a_plan(stain=reference_profile())
    reader = a_reader(slide, plan)
    core = reader.bands()[0][0]
    center = reader.places(core)[:30]
    view = plan.views[stage]
    view_mpp = view.mpp_in(plan.frame.mpp)
    margin = margin_for(view.patch_px)
    frame = render(slide, slide.bounds, mpp=view_mpp, margin_px=margin, look=reader.survey.look)
    expected = cut_patches(
        frame, rescale_points(center, mpp_from=plan.frame.mpp, mpp_to=view_mpp), patch_px=view.patch_px
    )
    for some in (center, center[:2]):
        seen = reader.cut(core, stage, some)
        difference = np.abs(seen.astype(int) - expected[: len(some)].astype(int))
        assert np.quantile(difference, 0.999) <= 3  # one grey level of resampling, then the stain's stretch
        assert seen.shape[1:] == (view.patch_px, view.patch_px, 3)


def test_answers_do_not_depend_on_what_was_asked_before():
    """A tile asked for again after many others gives the same places, images and settled places."""
    slide = a_slide()
    reader = a_reader(slide, a_plan())
    tiles = [core for band in reader.bands() for core in band]
    first = reader.find(tiles[0])
    settled = reader.settle(tiles[0], first.center_px)
    fresh = a_reader(slide, a_plan())
    for core in tiles[1:]:
        fresh.find(core)
    assert np.array_equal(fresh.cut(tiles[0], 0, first.center_px), first.images)
    assert np.array_equal(fresh.settle(tiles[0], first.center_px), settled)
    assert np.array_equal(fresh.find(tiles[0]).center_px, first.center_px)


def test_only_the_roi_is_looked_at():
    """Places are those of the whole slide that lie in or near the ROI."""
    slide = a_slide()
    roi = shapely.box(0, 0, 200, 200)
    whole, part = places(a_reader(slide, a_plan())), places(a_reader(slide, a_plan(), roi))
    inside = whole[(whole <= 200).all(axis=1)]
    assert 0 < len(part) < len(whole)
    assert {tuple(row) for row in inside} <= {tuple(row) for row in part} <= {tuple(row) for row in whole}


def test_glass_alone_has_no_tile():
    """A slide without tissue has nothing to look at."""
    slide = PlainSlide(slide_id="s", path=images()[0], mpp=0.25, pixels=np.full((500, 700, 3), 244, dtype=np.uint8))
    reader = a_reader(slide, a_plan())
    assert reader.bands() == []
    assert reader.survey.tissue.area_mm2 == 0
