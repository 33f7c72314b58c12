"""Laws of all proposers: one configuration each that TOML and a process boundary leave as it is."""

import pickle
import tomllib
from typing import ClassVar, get_args

import numpy as np
import pytest
import tomli_w
from pydantic import TypeAdapter

from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.contract import PlaceProposer
from mitosieve.sieve.propose.proposer import Proposer
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.slide.plain import PlainSlide
from tiny import images

KINDS = get_args(get_args(Proposer)[0])


def a_plan(proposer):
    view = View(views="one", patch_px=32)
    return Plan(frame=FrameConfig(stain="none"), proposer=proposer, views=(view,), reach_um=0.0, stain_target=None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_proposer_is_its_configuration(kind):
    """Written to TOML and read by its kind, or sent to a reader process inside a plan, it is the same."""
    proposer = kind()
    content = tomllib.loads(tomli_w.dumps(proposer.model_dump(mode="json")))
    assert TypeAdapter(Proposer).validate_python(content) == proposer
    plan = a_plan(proposer)
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert proposer.describe(0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_it_names_places_in_pixels_or_in_a_map(kind):
    """Never in both, never in neither."""
    in_pixels, in_map = (getattr(kind, name) is not getattr(PlaceProposer, name) for name in ("places", "peaks"))
    assert (in_pixels, in_map) == (not kind.dense, kind.dense)
    assert (kind.settle is not PlaceProposer.settle) == kind.settles


class Middle(PlaceProposer):
    """Names the middle of every tile."""

    everywhere: ClassVar[bool] = True

    def describe(self, frame_mpp):
        return "the middle"

    def plane_mpp(self, frame_mpp, first):
        return frame_mpp

    def margin_px(self, patch_px, mpp):
        return patch_px

    def places(self, tile, cut):
        return np.array([[tile.core.x + (tile.core.w - 1) / 2, tile.core.y + (tile.core.h - 1) / 2]])


def test_a_reader_needs_no_more_than_the_contract():
    """A proposer that the package does not know is read for like any other."""
    pixels = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    slide = PlainSlide(slide_id="s", path=images()[0], mpp=0.25, pixels=pixels)
    plan = a_plan(Middle())
    reader = TileReader(slide, plan, survey(slide, plan))
    ((core,),) = reader.bands()
    found = reader.find(core)
    assert found.center_px.tolist() == [[79.5, 59.5]]
    assert np.array_equal(found.images[0], pixels[44:76, 64:96])
    assert np.array_equal(reader.settle(core, found.center_px), found.center_px)
