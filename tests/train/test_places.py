"""Places to learn from: what is known of them, once each, and as they were after a file."""

from dataclasses import replace

import numpy as np
import pytest
import shapely

from build import a_cohort
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Fold
from mitosieve.errors import CohortError, FormatError
from mitosieve.method.cascade.window_rule import WindowRule
from mitosieve.method.cascade.windows import WindowConfig
from mitosieve.method.dasc.labels import LabelConfig, MarkRule
from mitosieve.network.compute import Compute
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.view import View
from mitosieve.run.folder import RunFolder
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train.job import Job
from mitosieve.train.places import Places, find_places, places_of_fold
from mitosieve.train.proposals import CropRule, ProposalRule, TruthConfig

PLAN = Plan(
    frame=FrameConfig(stain="none"), proposer=NucleiProposer(), views=(View(views="one", patch_px=64),), reach_um=0.0,
    stain_target=None,
)  # fmt: skip


def a_rule(frames, windows, varied=frozenset()):
    return WindowRule(store=frames, windows=windows, translate_px=16.0, varied=varied, seed=1)


def found(cohort, frames, windows):
    return find_places(cohort, cohort.cases, a_rule(frames, windows))


def a_job(cohort, frames):
    fold = Fold(train=cohort.cases, validation=cohort.cases[1:], test=())
    return Job(cohort=cohort, fold=fold, run=RunFolder(frames.folder.parent / "run"), compute=Compute.choose("cpu"))


def test_places_are_read_as_they_were_written(tmp_path):
    """Every column survives the file, and so do equal bytes; a broken file is named."""
    generator = np.random.default_rng(1)
    index = PatchIndex.of(
        slide_id="s",
        center_l0=generator.uniform(0, 99, (7, 2)),
        origin=Origin.UNLABELLED,
        mpp=0.5,
        angle_deg=generator.uniform(0, 360, 7),
    )
    places = Places(
        index=index,
        mark=np.arange(7) - 1,
        offset_um=generator.normal(size=(7, 2)),
        settled_l0=generator.uniform(0, 99, (7, 2)),
        hidden_figure=generator.random(7) < 0.5,
    )
    read = Places.load(places.save(tmp_path / "one.parquet"))
    for name in ("mark", "offset_um", "settled_l0", "hidden_figure"):
        np.testing.assert_array_equal(getattr(read, name), getattr(places, name))
    for name in ("patch_id", "slide_id", "center_l0", "angle_deg", "origin", "label", "mpp"):
        np.testing.assert_array_equal(getattr(read.index, name), getattr(index, name))
    assert read.save(tmp_path / "two.parquet").read_bytes() == (tmp_path / "one.parquet").read_bytes()
    (tmp_path / "one.parquet").write_bytes(b"PAR1")
    with pytest.raises(FormatError, match=r"one\.parquet"):
        Places.load(tmp_path / "one.parquet")


@pytest.fixture
def store(tmp_path):
    cohort = a_cohort(tmp_path / "cohort", cases=2)
    frames = FrameStore(tmp_path / "frames", FrameConfig(stain="none"), margin_px=100)
    for entry in cohort.slides:
        frames.add(entry.slide_id, lambda name=entry.slide_id: cohort.open(name), None)
    return cohort, frames


def test_windows_lie_inside_the_roi(store):
    """Outside the ROI nothing is known, so no background window reaches out of it."""
    cohort, frames = store
    roi = "POLYGON ((0 0, 220 0, 220 300, 0 300, 0 0))"
    limited = cohort.with_entries(lambda entry: replace(entry, roi_wkt=roi))
    windows = WindowConfig(stride_px=16)
    places = found(limited, frames, windows)
    right = places.index.center_l0[places.with_origin(Origin.BACKGROUND)][:, 0] + windows.patch_px / 2
    assert len(right)
    assert (right <= 220.5).all()
    everywhere = found(cohort, frames, windows)
    assert everywhere.index.count()["background"] > places.index.count()["background"]


def test_windows_lie_inside_a_slanted_roi_with_all_their_corners(store):
    """A corner is farther from the middle than a side: by brute force over the corners of every window."""
    cohort, frames = store
    roi = shapely.Polygon([(160, 20), (300, 150), (160, 290), (20, 150)])
    limited = cohort.with_entries(lambda entry: replace(entry, roi_wkt=roi.wkt))
    windows = WindowConfig(patch_px=64, stride_px=8)
    places = found(limited, frames, windows)
    inside, everywhere = (
        {tuple(center) for center in part.index.center_l0[part.with_origin(Origin.BACKGROUND)].tolist()}
        for part in (places, found(cohort, frames, windows))
    )
    corners = [(dx, dy) for dx in (-32, 32) for dy in (-32, 32)]
    assert inside == {
        (x, y) for x, y in everywhere if all(roi.covers(shapely.Point(x + dx, y + dy)) for dx, dy in corners)
    }
    assert 0 < len(inside) < len(everywhere)


RULES = {
    "windows": lambda cohort, frames: a_rule(frames, WindowConfig(patch_px=32, stride_px=8)),
    "marks": lambda cohort, frames: MarkRule(plan=PLAN, config=LabelConfig(exclusion_um=8), imposters=True),
    "marks of figures": lambda cohort, frames: MarkRule(plan=PLAN, config=LabelConfig(exclusion_um=8), imposters=False),
    "proposals": lambda cohort, frames: ProposalRule(plan=PLAN, truth=TruthConfig()),
    "crops": lambda cohort, frames: CropRule.of(cohort, ProposalRule(plan=PLAN, truth=TruthConfig())),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_place_lies_where_its_slide_was_searched(store, rule):
    """Marks outside the ROI are neither learned from nor scored, whatever the rule."""
    cohort, frames = store
    figures = cohort.annotations.with_label(Label.MITOTIC_FIGURE)
    right = {e.slide_id: figures.of_slide(e.slide_id).center_l0[:, 0].min() + 8.0 for e in cohort.slides}
    limited = cohort.with_entries(lambda e: replace(e, roi_wkt=shapely.box(0, 0, right[e.slide_id], 300).wkt))
    how = RULES[rule](limited, frames)
    places = Places.concatenate([how.places(limited, entry) for entry in limited.slides])
    edge = np.array([right[str(name)] for name in places.index.slide_id])
    assert (places.index.center_l0[:, 0] <= edge).all()
    marks = cohort.annotations
    outside = np.array([x > right[str(name)] for x, name in zip(marks.center_l0[:, 0], marks.slide_id, strict=True)])
    assert (outside & (marks.label == Label.MITOTIC_FIGURE.value)).any()
    assert (outside & (marks.label == Label.IMPOSTER.value)).any()
    if "marks" in rule:
        assert not outside[places.mark[places.mark >= 0]].any()
    assert places.index.count()["figure"] >= 2


def test_unlabelled_slides_give_no_patch(store):
    """Nothing is known of them: they are neither figures nor background."""
    cohort, frames = store
    first = cohort.slides[0].slide_id
    hidden = cohort.with_entries(lambda entry: replace(entry, labelled=entry.slide_id != first))
    job = a_job(hidden, frames)
    places = places_of_fold(job, a_rule(frames, WindowConfig(stride_px=16)))
    assert first not in set(places["train"].index.slide_id)


def test_a_part_without_figures_is_refused(store):
    """There is nothing to learn from; the message names the cases."""
    cohort, frames = store
    empty = Cohort(cohort.folder, cohort.slides, Annotations.empty())
    with pytest.raises(CohortError, match="c0, c1 have no figure"):
        found(empty, frames, WindowConfig())
    nothing = WindowConfig(stride_px=16)

    class Blind:
        def places(self, cohort, entry):
            places = a_rule(frames, nothing).places(cohort, entry)
            return places[np.flatnonzero(places.index.label == 0)]

    with pytest.raises(CohortError, match=r"no place was found for \d+ marked figures of the cases c0, c1"):
        find_places(cohort, ("c0", "c1"), Blind())


def test_hidden_marks_and_marks_outside_the_roi_are_none_that_no_place_was_found_for(store):
    """Who hides all marks is told to hide fewer; what lies where nobody searched is not looked for."""
    cohort, frames = store
    rule = ProposalRule(plan=PLAN, truth=TruthConfig(), hidden=frozenset(entry.slide_id for entry in cohort.slides))
    with pytest.raises(CohortError, match="have no figure to learn from") as caught:
        find_places(cohort, cohort.cases, rule, unlabelled=True)
    assert "hide fewer marks" in str(caught.value)
    corner = shapely.box(0, 0, 3, 3).wkt
    away = cohort.with_entries(lambda entry: replace(entry, roi_wkt=corner))
    with pytest.raises(CohortError, match=r"have no (figure|background) to learn from"):
        find_places(away, away.cases, a_rule(frames, WindowConfig(stride_px=16)))


def test_one_row_for_figures_marked_twice_at_one_place(store):
    """A place is in the index once, so that its score is one."""
    cohort, frames = store
    double = Cohort(cohort.folder, cohort.slides, Annotations.concatenate([cohort.annotations, cohort.annotations]))
    places = found(double, frames, WindowConfig())
    assert len(np.unique(places.index.patch_id)) == len(places)
    assert places.index.count()[Origin.FIGURE.value] == cohort.counts()["figures"]
    assert places.index.mpp == 0.25


def test_only_figures_of_varied_slides_come_in_variants(store):
    """42 places of each, the first the mark itself, none farther than the largest shift; others stand once."""
    cohort, frames = store
    first = cohort.slides[0].slide_id
    places = find_places(cohort, cohort.cases, a_rule(frames, WindowConfig(), frozenset([first])))
    rows = places.with_origin(Origin.FIGURE)
    varied = rows[places.index.slide_id[rows] == first]
    marks = cohort.annotations.of_slide(first).with_label(Label.MITOTIC_FIGURE).center_l0
    assert len(varied) == 42 * len(marks)
    assert len(rows) - len(varied) == cohort.counts()["figures"] - len(marks)
    for number, mark in enumerate(marks):
        center = places.index.center_l0[varied[42 * number : 42 * (number + 1)]]
        assert center[0].tolist() == mark.tolist()
        assert np.abs(center - mark).max() <= 16
