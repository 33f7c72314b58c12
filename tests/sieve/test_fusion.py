"""Laws of fusing an ensemble: the mean logit, or votes that are counted over a whole slide, however it is cut."""

import cv2
import numpy as np
import pytest
import shapely
import torch
from pydantic import ValidationError
from torch import nn

from build import an_image
from mitosieve.count.summary import SlideSummary
from mitosieve.errors import DetectorError, StorageError
from mitosieve.export.table import read_detections
from mitosieve.network.compute import Compute
from mitosieve.network.config import RotoTranslationConfig, SwiftConfig
from mitosieve.network.rototranslation import RotoTranslationNet
from mitosieve.network.swift import SwiftNet
from mitosieve.patch.frames import FrameConfig, render
from mitosieve.run.clock import Clock
from mitosieve.scan import one
from mitosieve.scan.one import do_slide
from mitosieve.scan.task import SlideTask
from mitosieve.sieve import tile_reader
from mitosieve.sieve.cascade import Scored, columns_of, detect_slide, finish, merge
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import DenseProposer, GridProposer
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import Readers
from mitosieve.sieve.stages import plan_of
from mitosieve.sieve.tile_reader import survey
from mitosieve.sieve.workers import Sieving
from mitosieve.slide.slide import open_slide
from stage_scores import score_images, score_places

CPU = Compute(device="cpu", precision="32-true")
ONNX = Compute(device="cpu", precision="32-true", engine="onnxruntime")
SIZE = (520, 400)
SMALL = (200, 160)
DOTS = ((256, 110), (120, 256), (256, 256), (384, 300), (400, 60), (20, 40), (500, 380))
FLOOR = 0.05


class Spot(nn.Module):
    """How dark it is round a point that lies beside the middle of the patch: each network sees a cell elsewhere."""

    def __init__(self, x, y, bias):
        super().__init__()
        line = torch.arange(64) - 31.5
        weight = torch.exp(-((line - x)[None] ** 2 + (line - y)[:, None] ** 2) / (2 * 8.0**2))
        self.register_buffer("weight", weight / weight.sum())
        self.bias = bias

    def forward(self, image_BCHW):
        dark = ((0.8 - image_BCHW[:, 0]) * 2).clamp(0, 1)
        return 12 * (dark * self.weight).sum(dim=(1, 2)) + self.bias


SPOTS = (Spot(0, 0, -2.5), Spot(20, -6, -2.0), Spot(-14, 12, -3.0))


def a_stage(votes=2, votes_um=7.5, **settings):
    settings = {"views": "one", "patch_px": 64, **settings}
    return Stage(name="last", network=SwiftConfig(), fusion="votes", votes=votes, votes_um=votes_um, **settings)


def a_detector(networks=SPOTS, *, stage=None, merge_um=0.0, suppress_um=0.0, proposer=None, before=()):
    config = DetectorConfig(
        frame=FrameConfig(mpp=0.25, stain="none"),
        proposer=proposer or GridProposer(stride_px=16),
        stages=(*(item for item, _ in before), stage or a_stage()),
        merge_um=merge_um,
        suppress_um=suppress_um,
        keep_above=FLOOR,
    )
    return Detector(config=config, networks=(*((network,) for _, network in before), tuple(networks)))


@pytest.fixture(scope="module")
def dotted(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "dotted.png"
    an_image(path, width=SIZE[0], height=SIZE[1], dots=DOTS)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "small.png"
    an_image(path, width=SMALL[0], height=SMALL[1], dots=((130, 130), (60, 40), (180, 90)))
    return path


def run(path, detector, *, roi=None, compute=CPU):
    with open_slide(path, mpp=0.25) as slide:
        return detect_slide(detector, slide, compute=compute, roi=roi)


def voted(center_um, each, votes, radius_um):
    """By loops: the score that so many networks reach at any place within the radius."""
    found = np.zeros(len(each))
    for i, here in enumerate(center_um):
        near = np.sqrt(((center_um - here) ** 2).sum(axis=1)) <= radius_um
        found[i] = sorted(each[near].max(axis=0), reverse=True)[votes - 1]
    return found


@pytest.mark.parametrize(("votes", "radius"), [(1, 7.5), (2, 7.5), (3, 4.0), (4, 20.0), (2, 0.01)])
def test_votes_are_counted_by_the_definition(votes, radius):
    """By brute force on random places, some at one spot: every place with its fused score, other stages' untouched."""
    rng = np.random.default_rng(votes)
    center = rng.integers(0, 400, (300, 2)).astype(float)
    score = rng.random((300, 5)) ** 3
    networks = [nn.Identity() for _ in range(4)]
    first = (Stage(name="first", network=SwiftConfig()), nn.Identity())
    detector = a_detector(networks, stage=a_stage(votes, radius), before=(first,))
    place, found = merge(Scored(center_px=center, score=score), detector.config)
    wanted = voted(center * 0.25, score[:, 1:], votes, radius)
    kept = wanted >= FLOOR
    assert kept.any()
    order = np.lexsort((score[kept, 0], center[kept, 0], center[kept, 1]))
    place = place.round(6)
    again = np.lexsort((found[:, 0], place[:, 0], place[:, 1]))
    assert np.allclose(place[again], center[kept][order])
    assert (found[again] == np.column_stack([score[:, 0], wanted])[kept][order]).all()


def test_exactly_at_the_distance_is_near():
    """7.5 um is within 7.5 um; a hair more is not."""
    for far, wanted in ((30.0, [0.8, 0.8]), (30.01, [])):
        places = Scored(center_px=np.array([[0, 0], [far, 0]]), score=np.array([[0.9, 0.0], [0.0, 0.8]]))
        assert merge(places, a_detector(SPOTS[:2]).config)[1].ravel().tolist() == wanted


def test_a_figure_lies_where_the_networks_agree():
    """Neighbours of an agreed place share its score and join it, though they come first by y and x."""
    center = np.array([[0, 0], [20, 0], [20, 20], [44, 0]], dtype=float)
    each = np.array([[0.06, 0.01, 0.02], [0.9, 0.8, 0.1], [0.3, 0.1, 0.95], [0.01, 0.02, 0.06]])
    detector = a_detector(merge_um=12.0, suppress_um=7.5)
    place, score = merge(Scored(center_px=center, score=each), detector.config)
    assert place.tolist() == [[20, 0]]
    assert score.tolist() == [[0.9]]
    none, score = merge(Scored(center_px=center, score=each / 100), detector.config)
    assert none.shape == (0, 2)
    assert score.shape == (0, 1)


def test_no_places_have_no_votes():
    """A slide where nothing came through has no detections."""
    place, score = merge(Scored.concatenate([], columns_of(a_detector())), a_detector().config)
    assert place.shape == (0, 2)
    assert score.shape == (0, 1)


@pytest.mark.parametrize("tile_px", [64, 256, 2048])
@pytest.mark.parametrize("votes", [1, 2, 3])
def test_a_slide_cut_anyhow_is_voted_on_as_one(dotted, monkeypatch, tile_px, votes):
    """By brute force over the whole grid; the networks peak beside each other, often in different tiles."""
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    detector = a_detector(stage=a_stage(votes))
    found = run(dotted, detector)
    stage = detector.config.stages[0]
    with open_slide(dotted, mpp=0.25) as slide:
        whole = render(slide, slide.bounds, mpp=0.25, margin_px=64, look=survey(slide, plan_of(detector)).look)
    grid = np.stack(np.meshgrid(*(grid_line(length) for length in SIZE)), axis=-1).reshape(-1, 2)
    alone = stage.model_copy(update={"fusion": "mean"})
    each = np.stack([score_places(alone, (network,), whole, grid, CPU) for network in SPOTS], axis=1)
    seen = each.max(axis=1) >= FLOOR
    grid, each = grid[seen], each[seen]
    wanted = voted(grid * 0.25, each, votes, 7.5)
    grid, wanted = grid[wanted >= FLOOR], wanted[wanted >= FLOOR]
    assert len(found) == len(wanted) > 20
    distance = np.linalg.norm(found.center_l0[:, None] - grid[None], axis=2)
    assert distance.min(axis=1).max() < 1e-6
    assert np.allclose(found.score, wanted[distance.argmin(axis=1)], atol=1e-5)
    assert found.stage_score.shape == (len(found), 1)


def grid_line(length):
    from mitosieve.sieve.propose.grid import covering_line

    return covering_line(length, stride_px=16).astype(float)


def test_each_figure_is_found_once_by_votes(dotted, monkeypatch):
    """As merged by default, one detection at each dot, for small tiles as for one; all networks must agree on it."""
    for tile_px in (128, 2048):
        monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
        found = run(dotted, a_detector(stage=a_stage(3), merge_um=12.0, suppress_um=7.5)).figures
        distance = np.linalg.norm(np.array(DOTS)[:, None] - found.center_l0[None], axis=2)
        assert (distance <= 30).sum(axis=1).tolist() == [1] * len(DOTS)
        assert len(found) == len(DOTS)


def test_an_roi_hears_votes_from_outside(dotted):
    """Detections inside an ROI are those of the whole slide that lie in it, votes of places beyond its edge counted."""
    detector = a_detector()
    for edge in range(240, 272, 4):
        roi = shapely.box(edge, 60, edge + 60, 300)
        whole, inside = run(dotted, detector), run(dotted, detector, roi=roi)
        kept = shapely.contains_xy(roi, *whole.center_l0.T)
        assert 0 < kept.sum() == len(inside)
        assert np.allclose(inside.score, whole.score[kept], atol=1e-6)
        assert (inside.center_l0 == whole.center_l0[kept]).all()


def test_a_cascade_may_end_in_votes(dotted, monkeypatch):
    """The first stage's scores come through beside the votes, and what it drops has no vote."""
    before = (Stage(name="first", network=SwiftConfig(), views="one", patch_px=64, threshold=0.3), SPOTS[0])
    whole = run(dotted, a_detector(before=(before,)))
    assert whole.stage_names == ("first", "last")
    assert whole.stage_score.shape == (len(whole), 2)
    assert whole.stage_score[:, 0].min() >= 0.3
    assert (whole.stage_score[:, 1] == whole.score).all()
    monkeypatch.setattr(tile_reader, "TILE_PX", 128)
    parts = run(dotted, a_detector(before=(before,)))
    assert (parts.center_l0 == whole.center_l0).all()
    assert np.allclose(parts.stage_score, whole.stage_score, atol=1e-6)


def test_turns_are_averaged_for_each_voter():
    """Each network's own mean logit over turns; then what so many of them reach."""
    torch.manual_seed(0)
    networks = tuple(SwiftNet(SwiftConfig()).eval() for _ in range(3))
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    stage = a_stage(2, patch_px=32, turns=8, turn_above=0.4)
    alone = stage.model_copy(update={"fusion": "mean"})
    each = np.stack([score_images(alone, (network,), images, CPU) for network in networks], axis=1)
    assert np.allclose(score_images(stage, networks, images, CPU), np.sort(each, axis=1)[:, 1])
    assert score_images(stage, networks, images[:0], CPU).shape == (0,)


@pytest.mark.parametrize(("turns", "number"), [(4, 3), (8, 3), (8, 6), (4, 6)])
def test_networks_may_look_once_each(turns, number):
    """By hand: network k at the k-th quarter turn, from the fifth on mirrored, and round again where there are more
    networks than turns; the mean logit, whatever the score. Alone a network looks at all, and without turns each looks
    as it is.
    """
    torch.manual_seed(0)
    networks = tuple(SwiftNet(SwiftConfig()).eval() for _ in range(number))
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    plain = Stage(name="only", network=SwiftConfig(), views="one", patch_px=32, turns=1)
    quarters = [np.rot90(images, quarter, axes=(1, 2)) for quarter in range(4)]
    orientations = [*quarters, *(item[:, :, ::-1] for item in quarters)][:turns]
    assert len({item.tobytes() for item in orientations}) == turns

    def logit(network, some):
        score = score_images(plain, (network,), np.ascontiguousarray(some), CPU)
        return np.log(score / (1 - score))

    looks = [logit(network, orientations[k % turns]) for k, network in enumerate(networks)]
    wanted = 1 / (1 + np.exp(-np.mean(looks, axis=0)))
    stage = plain.model_copy(update={"turns": turns, "turn_above": 0.5, "looks": "one"})
    every = stage.model_copy(update={"looks": "all"})
    assert np.allclose(score_images(stage, networks, images, CPU), wanted, atol=1e-6)
    assert not np.allclose(score_images(every, networks, images, CPU), wanted, atol=1e-6)
    assert np.allclose(score_images(stage, networks[:1], images, CPU), score_images(every, networks[:1], images, CPU))
    still = stage.model_copy(update={"turns": 1})
    assert np.allclose(score_images(still, networks, images, CPU), score_images(plain, networks, images, CPU))


def test_voters_do_not_share_their_looks():
    """Each votes for itself: it is refused, not passed over."""
    with pytest.raises(ValueError, match="of a mean"):
        a_stage(2, patch_px=32, turns=8, looks="one")


def spread(network, side):
    """The network with a decision that spreads the scores of what the slide looks like."""
    network.eval()
    with torch.no_grad():
        logit = network(torch.rand(64, 3, side, side))
        network.decision.weight /= logit.std()
        network.decision.bias -= logit.mean() / logit.std()
    return network


def a_dense_detector(kind, fusion, votes=2):
    torch.manual_seed(5)
    if kind == "swift":
        network, mpp, side = SwiftConfig(), 0.5, 32
        networks = [spread(SwiftNet(network), side) for _ in range(3)]
    else:
        network = RotoTranslationConfig(orientations=4, widths=(3, 4, 8), blocks=(0, 0, 0), projection="mean")
        mpp, side = 0.5, network.input_px
        networks = [spread(RotoTranslationNet(network), side) for _ in range(3)]
    voting = {"fusion": fusion, "votes": votes}
    stage = Stage(name="map", network=network, mpp=mpp, views="one", patch_px=side, threshold=0.3, **voting)
    return a_detector(networks, stage=stage, proposer=DenseProposer(spacing_um=4.0)), side


@pytest.mark.parametrize(("tile_px", "compute"), [(64, ONNX), (2048, CPU)])
@pytest.mark.parametrize(
    ("kind", "fusion"), [("swift", "mean"), ("roto", "mean"), ("swift", "votes"), ("roto", "votes")]
)
def test_maps_of_several_networks(small, monkeypatch, kind, fusion, tile_px, compute):
    """By brute force: maxima of the mean map, or of each network's map with all networks' scores there; then votes."""
    monkeypatch.setattr(tile_reader, "TILE_PX", tile_px)
    detector, side = a_dense_detector(kind, fusion)
    found = run(small, detector, compute=compute)
    stage, networks = detector.config.stages[0].model_copy(update={"fusion": "mean"}), detector.networks[0]
    with open_slide(small, mpp=0.25) as slide:
        whole = render(slide, slide.bounds, mpp=0.5, margin_px=64, look=survey(slide, plan_of(detector)).look)
    first = (side / 2) % 4 - 0.5
    lines = [np.arange(-12, length // 2 + 12, 4) + first for length in SMALL]
    grid = np.stack(np.meshgrid(*lines), axis=-1)
    groups = [networks] if fusion == "mean" else [(network,) for network in networks]
    maps = [score_places(stage, group, whole, grid.reshape(-1, 2), CPU).reshape(grid.shape[:2]) for group in groups]
    peak = np.any([(item == cv2.dilate(item, np.ones((5, 5), np.uint8))) & (item >= FLOOR) for item in maps], axis=0)
    inside = (grid >= 0).all(axis=-1) & (grid < np.array(SMALL) / 2).all(axis=-1)
    each = np.stack(maps, axis=-1)[peak & inside]
    expected = grid[peak & inside]
    score = voted(expected * 0.5, each, 2, 7.5) if fusion == "votes" else each[:, 0]
    got = (found.center_l0 + 0.5) / 2 - 0.5
    near = np.linalg.norm(got[:, None] - expected[None], axis=2)
    assert len(got) == (score >= FLOOR).sum() > 10
    assert near.min(axis=1).max() < 1e-6
    assert np.allclose(score[near.argmin(axis=1)], found.score, atol=1e-4)


def a_task(path, out):
    source = SlideSource(path=path, slide_id="dotted", mpp=0.25)
    return SlideTask(source=source, out=out, formats=(), detector=out, threshold=None, compute=CPU)


def test_a_slide_that_was_killed_goes_on_with_its_votes(dotted, monkeypatch, tmp_path):
    """Bands hold each network's scores: what is left is sieved, all are voted on together, and nothing differs."""
    monkeypatch.setattr(tile_reader, "TILE_PX", 96)
    detector = a_detector(merge_um=12.0, suppress_um=7.5)
    write, written = one.write_band, []

    def full_disk(folder, number, scored):
        if len(written) == 2:
            raise StorageError("the disk is full")
        written.append(number)
        assert scored.score.shape[1] == 3
        write(folder, number, scored)

    monkeypatch.setattr(one, "write_band", full_disk)
    with pytest.raises(StorageError):
        do_slide(a_task(dotted, tmp_path), detector, lambda slide: None)
    assert len(list(tmp_path.glob("parts/*/band-*.npz"))) == 2
    monkeypatch.setattr(one, "write_band", write)
    result = do_slide(a_task(dotted, tmp_path), detector, lambda slide: None)
    assert isinstance(result.summary, SlideSummary)
    (part,) = tmp_path.glob("parts/*.csv")
    found, whole = read_detections(part), run(dotted, detector)
    assert len(found) == len(whole) > 0
    assert np.allclose(found.score, whole.score, atol=1e-4)
    assert np.allclose(found.center_l0, whole.center_l0, atol=0.01)


def test_reader_processes_bring_the_same_votes(dotted):
    """Read by another process, the slide has the same detections to the bit."""
    detector = a_detector(merge_um=12.0, suppress_um=7.5)
    parts = {}
    with Readers(1) as readers:
        sieving = Sieving(detector, SlideSource(path=dotted, slide_id="dotted", mpp=0.25), CPU, Clock(), readers)
        sieving.run(sieving.open(), set(), parts.__setitem__)
    scored = Scored.concatenate([parts[number] for number in sorted(parts)], columns_of(detector))
    with open_slide(dotted, mpp=0.25) as slide:
        found = finish(scored, detector, slide, None)
    whole = run(dotted, detector)
    assert (found.center_l0 == whole.center_l0).all()
    assert (found.stage_score == whole.stage_score).all()


def test_the_fusion_is_kept_and_told(tmp_path):
    """It comes back with the folder, and people read of it in the card and in the description."""
    torch.manual_seed(0)
    network = SwiftConfig(widths=(2, 3), head=2)
    networks = [SwiftNet(network).eval() for _ in range(3)]
    voting = Stage(name="last", network=network, views="one", patch_px=32, fusion="votes", votes=2, votes_um=6.0)
    for stage, told in ((voting, "2 of 3 networks agreeing within 6 um"), (plain_of(voting), "mean of 3 networks")):
        folder = a_detector(networks, stage=stage).save(tmp_path / stage.fusion)
        loaded = Detector.load(folder)
        last = loaded.config.stages[-1]
        assert (last.fusion, last.votes, last.votes_um) == (stage.fusion, stage.votes, stage.votes_um)
        assert told in loaded.describe()
        assert told in (folder / "CARD.md").read_text()
    text = (tmp_path / "votes" / "detector.toml").read_text()
    (tmp_path / "votes" / "detector.toml").write_text(text.replace("votes = 2", "votes = 4"))
    with pytest.raises(DetectorError, match="4 votes of 3 network"):
        Detector.load(tmp_path / "votes")


def plain_of(stage):
    return Stage(**{**stage.model_dump(), "fusion": "mean", "votes": 1})


def test_votes_that_cannot_be_had_are_refused():
    """More votes than networks, votes before the last stage, and numbers out of range: the message says what to do."""
    with pytest.raises(DetectorError, match=r"4 votes of 3 network.*\n.*give fewer votes"):
        a_detector(stage=a_stage(4))
    with pytest.raises(ValidationError, match="2 votes of 1 network"):
        a_stage(2, weights=("a.safetensors",), sha256=("0",))
    with pytest.raises(ValidationError, match="only the last stage"):
        DetectorConfig(stages=(a_stage(), Stage(name="more")))
    for wrong in ({"votes": 0}, {"votes_um": 0.0}, {"fusion": "median"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            Stage(name="only", **wrong)
