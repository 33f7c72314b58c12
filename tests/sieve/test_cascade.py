"""Laws of detecting: each figure once, wherever it lies, however the slide is cut."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import shapely
import torch
from torch import nn

from build import an_image
from mitosieve.geometry import inside_roi
from mitosieve.network.compute import Compute, predict
from mitosieve.network.config import ChsNetConfig, SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.network.swift import SwiftNet
from mitosieve.patch.frames import FrameConfig, render
from mitosieve.score.counted import count_in
from mitosieve.sieve import tile_reader
from mitosieve.sieve.cascade import Scored, detect_slide, finish, merge, sieve_slide
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.near_tissue import grown, is_near
from mitosieve.sieve.propose.proposer import DenseProposer, GridProposer, NucleiProposer
from mitosieve.sieve.propose.spots import ContrastConfig
from mitosieve.sieve.score_counts import count_scores
from mitosieve.sieve.stages import plan_of
from mitosieve.sieve.tile_reader import survey
from mitosieve.slide.slide import open_slide
from scene import a_bare_cohort
from stage_scores import score_images, score_places
from tiny import images

CPU = Compute(device="cpu", precision="32-true")
DOTS = (
    (256, 110),  # on a seam of tiles of 256 px
    (120, 255.5),
    (256, 256),  # the corner of four tiles
    (384, 300),
    (400, 60),
    (2, 40),  # borders and corners
    (60, 1),
    (518, 398),
    (519, 200),
    (90, 399),
)
SIZE = (520, 400)


class Darkness(nn.Module):
    """A detector without training: how much dark there is, by a Gaussian, round the middle of the second view."""

    def __init__(self, sigma=16.0) -> None:
        super().__init__()
        line = torch.exp(-((torch.arange(64) - 31.5) ** 2) / (2 * sigma**2))
        self.register_buffer("weight", line[:, None] * line[None] / (line.sum() ** 2))

    def forward(self, image_BCHW):
        dark = ((0.75 - image_BCHW[:, 3]) * 2).clamp(0, 1)
        return 60 * (dark * self.weight).sum(dim=(1, 2)) - 3


def a_detector(*, stages=("only",), networks=1, mpp=0.25, min_darkness=0.0, threshold=0.5):
    config = DetectorConfig(
        frame=FrameConfig(mpp=mpp, stain="none"),
        proposer=GridProposer(stride_px=32, min_darkness=min_darkness),
        stages=tuple(Stage(name=name, network=ChsNetConfig(), threshold=threshold) for name in stages),
    )
    return Detector(config=config, networks=tuple(tuple(Darkness() for _ in range(networks)) for _ in stages))


@pytest.fixture(scope="module")
def dotted(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "dotted.png"
    an_image(path, width=SIZE[0], height=SIZE[1], dots=DOTS)
    return path


def run(path, detector=None, *, mpp=0.25, roi=None):
    with open_slide(path, mpp=mpp) as slide:
        return detect_slide(detector or a_detector(), slide, compute=CPU, roi=roi)


def partners(found, dots, reach):
    """For each dot the number of figures within reach of it, px."""
    distance = np.linalg.norm(np.array(dots)[:, None] - found.figures.center_l0[None], axis=2)
    return (distance <= reach).sum(axis=1).tolist()


@pytest.mark.parametrize("tile_px", [256, 2048])
def test_every_figure_is_found_once(dotted, monkeypatch, tile_px):
    """Dots on seams, at the corner of four tiles and at the border are found once, within the matching radius."""
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    found = run(dotted)
    assert len(found.figures) == len(DOTS)
    assert partners(found, DOTS, reach=16) == [1] * len(DOTS)
    assert (np.diff(found.score) <= 0).all()


@pytest.mark.parametrize("mpp", [0.25, 0.2273])
def test_the_result_does_not_depend_on_the_tiles(dotted, monkeypatch, mpp):
    """Cut into small tiles or not at all: the same figures, places within half a pixel, scores alike."""
    whole = run(dotted, mpp=mpp)
    monkeypatch.setattr(tile_reader, "TILE_PX", 256)
    parts = run(dotted, mpp=mpp)
    assert len(parts) == len(whole) > 0
    distance = np.linalg.norm(parts.center_l0[:, None] - whole.center_l0[None], axis=2)
    assert (distance.min(axis=1) < 0.5).all()
    assert np.abs(parts.score[distance.argmin(axis=0)] - whole.score).max() < 0.02


def test_places_are_in_level_0_px_of_the_slide(tmp_path):
    """A slide of other resolution than the detector's: places come back in the slide's own px."""
    dots = [(150.0, 90.0), (60.0, 200.0)]
    an_image(tmp_path / "s.png", width=260, height=250, dots=dots)
    found = run(tmp_path / "s.png", a_detector(mpp=0.3), mpp=0.25)
    assert partners(found, dots, reach=19) == [1, 1]
    assert len(found.figures) == 2


def test_outside_the_roi_nothing_is_reported(dotted):
    """Detections are those of the whole slide that lie in the ROI; an ROI without dots gives none."""
    roi = shapely.box(200, 30, 330, 330)
    inside, whole = run(dotted, roi=roi), run(dotted)
    kept = whole.figures.center_l0[shapely.contains_xy(roi, *whole.figures.center_l0.T)]
    assert len(inside.figures) == 2
    assert np.allclose(np.sort(inside.figures.center_l0, axis=0), np.sort(kept, axis=0), atol=0.5)
    assert len(run(dotted, roi=shapely.box(300, 130, 310, 140))) == 0


@pytest.mark.parametrize("shift", range(4))
def test_what_is_scored_is_detected_on_the_edge_of_a_roi_too(dotted, shift):
    """Detections that are the marks themselves miss none and raise no false alarm, whatever whole-numbered area."""
    spots = np.array([(x, y) for x in range(40, 500, 100) for y in range(40, 380, 100)], dtype=float)
    corners = [((40, 40), (340, 240)), ((40, 140), (440, 141)), ((39, 39), (41, 241)), ((140, 40), (241, 340))]
    (x0, y0), (x1, y1) = corners[shift]
    areas = [shapely.box(x0, y0, x1, y1), shapely.Polygon([(x0, y0), (x1, y0), (x1, y1)])]
    for roi in areas:
        cohort = a_bare_cohort(1, [(0, *spot) for spot in spots], roi=[roi.wkt])
        with open_slide(dotted, mpp=0.25, slide_id="s0") as slide:
            found = finish(Scored(center_px=spots, score=np.full((len(spots), 1), 0.9)), a_detector(), slide, roi)
        counted = count_in(found, cohort)
        assert len(counted.figures.center_l0) > 0
        assert sorted(found.center_l0.tolist()) == sorted(counted.figures.center_l0.tolist())


@pytest.mark.parametrize(
    ("per_mm2", "merge_um", "suppress_um"), [(4000, 0, 0), (4000, 0, 7.5), (4000, 1, 0), (1600, 12, 7.5)]
)
def test_an_edge_beside_a_detection_takes_nothing_from_it(per_mm2, merge_um, suppress_um):
    """A spot may lie outside of a ROI and its cell inside, or two that are one on both sides of its edge: detections in
    the ROI are the whole slide's that lie in it, with the edge anywhere beside any of them. (Places so dense that each
    joins the next have no such reach.)
    """
    network = SwiftConfig(input_px=32, widths=(8, 16), depths=(1, 1), head=16, stem=8)
    stage = Stage(name="only", network=network, views="one", patch_px=32, threshold=0.0)
    proposer = NucleiProposer(contrast=ContrastConfig(per_mm2=per_mm2))
    merging = {"merge_um": merge_um, "suppress_um": suppress_um, "keep_above": 0.0}
    torch.manual_seed(0)
    made = DetectorConfig(frame=FrameConfig(stain="none"), proposer=proposer, stages=(stage,), **merging)
    detector = Detector(config=made, networks=((build_network(network).eval(),),))
    with open_slide(images()[0], mpp=0.25) as slide:
        whole = detect_slide(detector, slide, compute=CPU)
        assert len(whole) > 10
        for x, y in whole.center_l0:
            for near, far in ((-1.0, 60.0), (-60.0, 1.0), (-8.0, 60.0)):
                roi = shapely.box(x + near, y + near, x + far, y + far)
                inside = detect_slide(detector, slide, compute=CPU, roi=roi)
                wanted = whole[inside_roi(roi, whole.center_l0)]
                assert inside.center_l0.tolist() == wanted.center_l0.tolist()


@pytest.mark.parametrize(("width", "height", "value"), [(300, 280, 255), (300, 280, 240), (5, 3, 250)])
def test_empty_glass_gives_no_detection(tmp_path, width, height, value):
    """A slide without tissue, also one smaller than a window, ends without detections and without error."""
    assert cv2.imwrite(str(tmp_path / "s.png"), np.full((height, width, 3), value, dtype=np.uint8))
    for least in (0.0, 0.5):
        found = run(tmp_path / "s.png", a_detector(min_darkness=least))
        assert len(found) == 0
        assert found.stage_names == ("only",)


def test_skipping_light_cells_loses_nothing(dotted):
    """Cells without anything dark are skipped, and the figures are the same, border and seams included."""
    everywhere, dark = run(dotted), run(dotted, a_detector(min_darkness=0.5))
    assert np.allclose(dark.figures.center_l0, everywhere.figures.center_l0, atol=1e-3)


def test_stages_and_ensembles(dotted):
    """Two stages alike find what one finds, each with its score; two networks alike score as one."""
    one = run(dotted)
    both, twins = run(dotted, a_detector(stages=("first", "second"))), run(dotted, a_detector(networks=2))
    assert both.stage_names == ("first", "second")
    assert np.allclose(both.figures.stage_score[:, 0], both.figures.stage_score[:, 1])
    assert len(both.figures) == len(one.figures)
    assert np.allclose(both.figures.score, one.figures.score)
    assert np.allclose(twins.figures.center_l0, one.figures.center_l0, atol=0.01)
    assert np.allclose(twins.score, one.score, atol=1e-5)


def places(rows):
    table = np.array(rows, dtype=float)
    return Scored(center_px=table[:, :2], score=table[:, 2:])


def test_a_figure_lies_at_the_weighted_mean_of_its_windows():
    """Windows with at least half the best score are averaged by score; weaker ones join without a say."""
    center, score = merge(places([(0, 0, 0.9), (32, 0, 0.6), (0, 32, 0.3), (500, 0, 0.7)]), a_detector().config)
    assert np.allclose(center, [[32 * 0.6 / 1.5, 0], [500, 0]])
    assert score[:, 0].tolist() == [0.9, 0.7]


def test_merging_and_suppressing_by_distance():
    """Windows 12 um apart stay two figures; merged places less than 7.5 um apart become one."""
    apart, _ = merge(places([(0, 0, 0.9), (48, 0, 0.8)]), a_detector().config)
    assert np.allclose(apart, [[0, 0], [48, 0]])
    near, score = merge(places([(0, 0, 0.9), (24, 0, 0.89), (52, 0, 0.8), (30, 0, 0.79)]), a_detector().config)
    assert np.allclose(near, [[24 * 0.89 / 1.79, 0]])
    assert score.tolist() == [[0.9]]
    none, _ = merge(places([(0, 0, 0.01)]), a_detector().config)
    assert none.shape == (0, 2)


def a_dense_detector(seed=3):
    torch.manual_seed(seed)
    network = SwiftNet(SwiftConfig()).eval()
    stage = Stage(name="map", network=SwiftConfig(), mpp=0.5, views="one", patch_px=32, threshold=0.0)
    config = DetectorConfig(
        frame=FrameConfig(mpp=0.25, stain="none"),
        proposer=DenseProposer(spacing_um=4.0),
        stages=(stage,),
        merge_um=0.0,
        suppress_um=0.0,
        keep_above=0.0,
    )
    return Detector(config=config, networks=((network,),))


@pytest.mark.parametrize("tile_px", [64, 2048])
def test_a_dense_network_finds_the_maxima_of_its_patches(dotted, monkeypatch, tile_px):
    """By brute force: every place of the map scored as a patch of its own; its maxima are what is found, each once."""
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    detector = a_dense_detector()
    found = run(dotted, detector)
    stage, networks = detector.config.stages[0], detector.networks[0]
    with open_slide(dotted, mpp=0.25) as slide:
        plan = plan_of(detector)
        seen = survey(slide, plan)
        whole = render(slide, slide.bounds, mpp=0.5, margin_px=64, look=seen.look)
        lines = [np.arange(-40, side // 2 + 40, 4) - 0.5 for side in SIZE]
        grid = np.stack(np.meshgrid(*lines), axis=-1)
        score = score_places(stage, networks, whole, grid.reshape(-1, 2), CPU).reshape(grid.shape[:2])
    peak = score == cv2.dilate(score, np.ones((5, 5), np.uint8))
    inside = (grid >= -0.5).all(axis=-1) & (grid < np.array(SIZE) / 2 - 0.5).all(axis=-1)
    expected = grid[peak & inside]
    got = (found.center_l0 + 0.5) / 2 - 0.5
    near = np.linalg.norm(got[:, None] - expected[None], axis=2)
    assert len(got) > 10
    assert near.min(axis=1).max() < 1e-6
    assert np.allclose(score[peak & inside][near.argmin(axis=1)], found.score, atol=1e-4)
    reader = a_reader(dotted, detector)
    cores = [core for band in reader.bands() for core in band]
    near_tissue = is_near(grown(seen.tissue, tile_reader.TISSUE_REACH_UM), (expected + 0.5) * 0.5)
    covered = [p for p in expected[near_tissue] if any(core.holds(p[None])[0] for core in cores)]
    assert len(got) == len(covered)


@pytest.mark.parametrize("tile_px", [128, 2048])
@pytest.mark.parametrize("kind", ["grid", "dense"])
def test_all_places_count_whatever_comes_through(dotted, monkeypatch, kind, tile_px):
    """First-stage scores of every place that any tile owns, those that the gate keeps out too, each once."""
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    detector = a_dense_detector() if kind == "dense" else a_detector(stages=("first", "last"))

    def gated(gate):
        first = detector.config.stages[0].model_copy(update={"threshold": gate})
        rest = detector.config.stages[1:]
        update = {"stages": (first, *rest), "keep_above": gate, "merge_um": 0.0, "suppress_um": 0.0}
        with open_slide(dotted, mpp=0.25) as slide:
            config = detector.config.model_copy(update=update)
            return sieve_slide(replace(detector, config=config), slide, compute=CPU)

    open_ = gated(0.0)
    first = open_.found.stage_score[:, 0]
    shut = gated(float(first.min() + first.max()) / 2)
    assert len(open_.found) > len(shut.found) > 0
    assert np.array_equal(open_.counts, shut.counts)
    assert np.array_equal(open_.counts, count_scores(first))


def a_reader(path, detector):
    slide = open_slide(path, mpp=0.25)
    plan = plan_of(detector)
    return tile_reader.TileReader(slide, plan, survey(slide, plan))


def test_a_dense_proposer_needs_a_map():
    """A network that cannot run as a map, or whose steps do not fit the tiles, is refused."""
    for network in (ChsNetConfig(), SwiftConfig(input_px=64, widths=(8, 8, 8, 8), depths=(0, 0, 0, 0))):
        with pytest.raises(ValueError, match="dense proposer"):
            DetectorConfig(proposer=DenseProposer(), stages=(Stage(name="map", network=network, views="one"),))


@pytest.mark.parametrize("patch_px", [24, 40, 128])
def test_a_map_and_its_patches_are_of_one_size(patch_px):
    """A place is the middle of what its score is of: with another patch_px all figures would be moved by the half of
    the difference.
    """
    with pytest.raises(ValueError, match=f"patch_px {patch_px} and a network of input_px 32: they must be equal"):
        DetectorConfig(
            proposer=DenseProposer(),
            stages=(Stage(name="map", network=SwiftConfig(), views="one", patch_px=patch_px),),
        )


@pytest.mark.parametrize("tile_px", [256, 2048])
def test_a_dense_network_keeps_to_tissue_and_to_the_roi(tmp_path, monkeypatch, tile_px):
    """Of a tile only what lies near tissue is told, looked at further and counted, though its map has the glass
    between two arms of tissue too; and of that what matters to the ROI.
    """
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    rng = np.random.default_rng(0)
    pixels = rng.integers(238, 250, (1000, 1000, 3), np.uint8)
    grain = rng.integers(-20, 20, (1000, 1000, 1))
    for arm in (np.s_[:, :200], np.s_[:200]):
        pixels[arm] = np.clip(np.array([190, 130, 200]) + grain[arm], 0, 255)
    for x, y in rng.integers(0, 1000, (300, 2)):
        if min(x, y) < 180:
            cv2.circle(pixels, (int(x), int(y)), 6, (110, 50, 90), -1)
    cv2.imwrite(str(tmp_path / "arms.png"), pixels)
    detector = a_dense_detector()
    with open_slide(tmp_path / "arms.png", mpp=0.5) as slide:
        whole = sieve_slide(detector, slide, compute=CPU)
        reach = grown(whole.survey.tissue, tile_reader.TISSUE_REACH_UM)
        assert 0.2 < reach.mask.mean() < 0.8
        assert len(whole.found) > 100
        assert is_near(reach, (whole.found.center_l0 + 0.5) * 0.5).all()
        assert np.array_equal(whole.counts, count_scores(whole.found.stage_score[:, 0]))
        roi = shapely.box(50, 300, 150, 400)
        part = sieve_slide(detector, slide, compute=CPU, roi=roi)
        wanted = whole.found[shapely.contains_xy(roi, *whole.found.center_l0.T)]
        assert 0 < len(part.found) == len(wanted)
        assert part.found.center_l0.tolist() == wanted.center_l0.tolist()
        assert part.counts.sum() < whole.counts.sum() / 4


def test_turns_are_averaged_where_a_figure_may_be():
    """By brute force: the sigmoid of the mean logit over eight orientations, at or above the limit; below it, as is."""
    torch.manual_seed(1)
    network = SwiftNet(SwiftConfig()).eval()
    images = np.random.default_rng(2).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)

    def logit(some):
        score = predict(network, iter([np.ascontiguousarray(some)]), CPU).astype(float)
        return np.log(score / (1 - score))

    plain = 1 / (1 + np.exp(-logit(images)))
    limit = float(np.median(plain))
    for turns in (1, 4, 8):
        stage = Stage(name="only", network=SwiftConfig(), views="one", patch_px=32, turns=turns, turn_above=limit)
        seen = [np.rot90(images, k, axes=(1, 2)) for k in range(4 if turns > 1 else 1)]
        seen += [item[:, :, ::-1] for item in seen] if turns == 8 else []
        mean = 1 / (1 + np.exp(-np.mean([logit(item) for item in seen], axis=0)))
        expected = np.where(plain >= limit, mean, plain)
        assert np.allclose(score_images(stage, (network,), images, CPU), expected, atol=1e-6)
        assert np.allclose(score_images(stage, (network, network), images, CPU), expected, atol=1e-6)


@pytest.mark.parametrize("carry", [0.5, 1.0])
def test_the_last_stage_may_carry_what_the_one_before_says(dotted, carry):
    """By hand, of the scores of the same places without: the sigmoid of the weighted mean of both logits."""
    plain = a_detector(stages=("first", "second"), threshold=0.01)
    other = replace(plain, networks=(plain.networks[0], (Darkness(sigma=6.0),)))
    first, last = other.config.stages
    config = other.config.model_copy(update={"stages": (first, last.model_copy(update={"carry": carry}))})
    alone, both = run(dotted, other), run(dotted, replace(other, config=config))

    def logit(score):
        score = np.clip(score, 1e-9, 1 - 1e-9)
        return np.log(score / (1 - score))

    distance = np.linalg.norm(both.center_l0[:, None] - alone.center_l0[None], axis=2)
    pair = distance.argmin(axis=1)
    same = (distance.min(axis=1) < 0.01) & (both.stage_score[:, 0] == alone.stage_score[pair, 0])
    assert same.sum() >= 5
    one, two = (alone.stage_score[pair[same], number] for number in (0, 1))
    wanted = 1 / (1 + np.exp(-(logit(two) + carry * logit(one)) / (1 + carry)))
    np.testing.assert_allclose(both.score[same], wanted, atol=1e-6)
    assert not np.allclose(both.score[same], two, atol=1e-3)


def test_only_the_last_of_several_stages_carries():
    """Gates are each stage's own; votes are no mean."""
    stages = [Stage(name=name, network=ChsNetConfig()) for name in ("first", "second")]
    for wrong in (
        (stages[0].model_copy(update={"carry": 0.5}), stages[1]),
        (stages[0].model_copy(update={"carry": 0.5}),),
        (stages[0], stages[1].model_copy(update={"carry": 0.5, "fusion": "votes"})),
    ):
        with pytest.raises(ValueError, match="carry"):
            DetectorConfig(proposer=GridProposer(), stages=wrong)
