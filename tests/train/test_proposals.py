"""What a place near the edge of a ROI is: as without a ROI, by brute force over where the edge may run."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from build import an_image
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import inside_roi
from mitosieve.method.dasc.labels import LabelConfig, MarkRule
from mitosieve.patch.index import Origin
from mitosieve.recipe.recipe import load_recipe
from mitosieve.train.places import NO_MARK
from mitosieve.train.proposals import ProposalRule, TruthConfig, propose

SIDE = 480
PLAN = load_recipe("swift", ["proposer.contrast.per_mm2=9000"]).plan


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One slide without a ROI, full of nuclei, half of them marked, a little beside their middles."""
    folder = tmp_path_factory.mktemp("edge")
    generator = np.random.default_rng(7)
    dots = [(x, y) for x in range(40, 460, 36) for y in range(40, 460, 36)]
    an_image(folder / "s.png", width=SIDE, height=SIDE, dots=tuple(dots))
    entry = SlideEntry(slide_id="s", path="s.png", case_id="p", domain="d", mpp=0.25, width_l0=SIDE, height_l0=SIDE)
    marked = np.array(dots, dtype=float)[generator.random(len(dots)) < 0.5]
    marks = marked + generator.normal(scale=8, size=marked.shape)
    label = [Label.MITOTIC_FIGURE if figure else Label.IMPOSTER for figure in generator.random(len(marks)) < 0.3]
    return Cohort(folder, (entry,), Annotations.of(slide_id=["s"] * len(marks), center_l0=marks, label=label))


def edges(cohort, axis):
    """Where a ROI may end so that it parts a figure from the proposal beside it, in level-0 px."""
    proposed = propose(cohort, cohort.slides[0], PLAN).center_l0
    assert len(proposed) > 80
    marks = cohort.annotations.with_label(Label.MITOTIC_FIGURE).center_l0
    nearest = np.linalg.norm(marks[:, None] - proposed[None], axis=2).argmin(axis=1)
    return ((marks + proposed[nearest]) / 2)[:, axis].tolist()


def cut(cohort, edge, axis):
    """The cohort with a ROI that ends at `edge` in x or in y, and its only slide."""
    box = shapely.box(0, 0, *((edge, SIDE) if axis == 0 else (SIDE, edge)))
    limited = cohort.with_entries(lambda e: replace(e, roi_wkt=box.wkt))
    return limited, limited.slides[0]


def told(places):
    """(x, y) -> (origin, mark) of every place."""
    index = places.index
    rows = zip(index.center_l0.tolist(), index.origin.tolist(), places.mark.tolist(), strict=True)
    return {tuple(center): (origin, mark) for center, origin, mark in rows}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("imposters", [True, False])
def test_a_proposal_is_what_it_is_without_a_roi(whole, imposters, axis):
    """Those inside, all of them; where the mark lies outside, a figure or an imposter is neither that nor background.

    Short distances: a proposal may stand for a mark that is farther than background has to be.
    """
    truth = TruthConfig(reach_um=7.5, same_um=2.0, apart_um=5.0)
    rule = ProposalRule(plan=PLAN, truth=truth, imposters=imposters)
    everywhere = told(rule.places(whole, whole.slides[0]))
    changed = 0
    for edge in edges(whole, axis):
        limited, entry = cut(whole, edge, axis)
        expected = {}
        for place, (origin, mark) in everywhere.items():
            if not inside_roi(entry.roi, np.array([place]))[0]:
                continue
            if mark != NO_MARK and not inside_roi(entry.roi, whole.annotations.center_l0[[mark]])[0]:
                changed += origin == Origin.FIGURE.value
                origin, mark = (origin if origin == Origin.BACKGROUND.value else Origin.NEAR.value), NO_MARK
            expected[place] = (origin, mark)
        assert told(rule.places(limited, entry)) == expected
    assert changed


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("imposters", [True, False])
def test_a_mark_takes_what_it_takes_without_a_roi(whole, imposters, axis):
    """Marks inside have the place they have without a ROI, or their own where that lies outside; others have none."""
    rule = MarkRule(plan=PLAN, config=LabelConfig(exclusion_um=2, window_um=6, apart_um=5), imposters=imposters)
    marks = whole.annotations.center_l0
    everywhere = told(rule.places(whole, whole.slides[0]))
    changed = 0
    for edge in edges(whole, axis):
        limited, entry = cut(whole, edge, axis)
        expected = {}
        for place, (origin, mark) in everywhere.items():
            inside = inside_roi(entry.roi, np.array([place]))[0]
            if mark == NO_MARK or inside_roi(entry.roi, marks[[mark]])[0]:
                if inside:
                    expected[place] = (origin, mark)
                elif mark != NO_MARK and (imposters or origin == Origin.FIGURE.value):
                    expected[tuple(marks[mark].tolist())] = (origin, mark)
                    changed += 1
            elif inside and not imposters and origin == Origin.IMPOSTER.value:
                expected[place] = (Origin.BACKGROUND.value, NO_MARK)
        assert told(rule.places(limited, entry)) == expected
    assert changed


def test_proposals_around_a_roi_are_those_of_the_slide(whole):
    """So far outside and no farther; those inside are the same with any reach, also the strongest of a crop."""
    everywhere = propose(whole, whole.slides[0], PLAN).center_l0
    for edge in edges(whole, 0):
        limited, entry = cut(whole, edge, 0)
        near = propose(limited, entry, PLAN, around_um=5.0)
        assert near.center_l0.tolist() == everywhere[everywhere[:, 0] <= edge + 20].tolist()
        assert near.inside.tolist() == (near.center_l0[:, 0] <= edge).tolist()
        dense = propose(limited, entry, PLAN, per_mm2=3000.0, around_um=5.0)
        alone = propose(limited, entry, PLAN, per_mm2=3000.0)
        assert alone.inside.all()
        assert dense.center_l0[dense.inside].tolist() == alone.center_l0.tolist()
