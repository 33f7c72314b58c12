"""Laws of locating: a detection lies at the peak of its network's map, however the slide is cut and seen."""

import numpy as np
import pytest
import shapely
import torch
from pydantic import ValidationError
from scipy import ndimage
from torch import nn
from torch.nn import functional

from build import an_image
from mitosieve.geometry import Region
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig, ResNetConfig, SwiftConfig
from mitosieve.network.registry import build_network
from mitosieve.network.resnet import ResNetCam
from mitosieve.network.swift import SwiftNet
from mitosieve.patch.frames import FrameConfig
from mitosieve.run.clock import Clock
from mitosieve.sieve import tile_reader
from mitosieve.sieve.activation_peak import locate_peaks, locate_reach_um, located
from mitosieve.sieve.cascade import answered, columns_of, detect_slide, finish, sieve_tile
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import DenseProposer, GridProposer, NucleiProposer
from mitosieve.sieve.propose.spots import MOVE_UM, ContrastConfig
from mitosieve.sieve.reader_process import SlideSource
from mitosieve.sieve.readers import Readers
from mitosieve.sieve.stages import Scorer, plan_of
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.sieve.workers import Sieving
from mitosieve.slide.slide import open_slide

CPU = Compute(device="cpu", precision="32-true")
ONNX = Compute(device="cpu", precision="32-true", engine="onnxruntime")
SIZE = (520, 400)
DOTS = ((256, 110), (120, 255), (256, 256), (384, 300), (400, 60), (20, 40), (500, 380))
CONFIG = ResNetConfig(width=1 / 8, stages=1, input_px=64)
NUCLEI = NucleiProposer(contrast=ContrastConfig(per_mm2=20000))
HALF_A_CELL = CONFIG.stride_px / 2


class DarkMap(ResNetCam):
    """A ResNet without training: its map is how dark the square of each place is, whose middle is known.

    It calls what is dark in the middle half of the patch, so a disc of 10 px that it calls is seen whole.
    """

    def __init__(self):
        super().__init__(CONFIG)

    def activation(self, image_BCHW):
        return 20 * (functional.avg_pool2d(0.6 - image_BCHW[:, 0], self.stride_px))

    def forward(self, image_BCHW):
        inner = self.activation(image_BCHW)[:, 4:12, 4:12]
        return inner.amax(dim=(1, 2))


class Given(ResNetCam):
    """Answers the logit map it was given, whatever it sees."""

    def __init__(self, logits):
        super().__init__(CONFIG)
        self.logits = nn.Parameter(torch.as_tensor(logits, dtype=torch.float32))

    def activation(self, image_BCHW):
        return self.logits + 0 * image_BCHW[:, :1, :1, 0]


def upper_left():
    """A network that calls everything, and always by the first place of its map."""
    network = Given(np.where(np.arange(256).reshape(16, 16) == 0, 9.0, -9.0)).eval()
    network.forward = lambda image: 9 * torch.ones(len(image))
    return network


FAR = {"locate_within_um": 100.0}
"""Peaks move a place however far they lie: what the laws of peaks are about."""


def a_stage(name="last", **settings):
    return Stage(
        **{"name": name, "network": CONFIG, "views": "one", "patch_px": 64, "locate": "activation", **FAR, **settings}
    )


def a_detector(*stages, networks=None, proposer=None, merge_um=12.0, suppress_um=7.5, mpp=0.25):
    stages = stages or (a_stage(),)
    config = DetectorConfig(
        frame=FrameConfig(mpp=mpp, stain="none"),
        proposer=proposer or GridProposer(stride_px=32),
        stages=stages,
        merge_um=merge_um,
        suppress_um=suppress_um,
    )
    return Detector(config=config, networks=networks or tuple((DarkMap().eval(),) for _ in stages))


@pytest.fixture(scope="module")
def dotted(tmp_path_factory):
    path = tmp_path_factory.mktemp("slide") / "dotted.png"
    an_image(path, width=SIZE[0], height=SIZE[1], dots=DOTS)
    return path


@pytest.mark.parametrize("locate", ["activation", "place"])
def test_an_ended_tile_is_let_go(dotted, locate):
    """A reader keeps the tiles that are begun: one that has ended would drive out one that has not."""
    detector = a_detector(a_stage(locate=locate))
    with open_slide(dotted, mpp=0.25) as slide:
        plan = plan_of(detector)
        reader = TileReader(slide, plan, survey(slide, plan))
        rendered, render = [], reader._render
        reader._render = lambda core, look: rendered.append(core) or render(core, look)
        (core,) = reader.bands()[0]
        found = answered(sieve_tile(Scorer(detector, CPU, Clock()), core), reader, Scorer(detector, CPU, Clock()))
        assert len(found.center_px) > 0
        assert rendered == [core]
        reader.places(core)
        assert rendered == [core, core]  # it was not at hand any more


def run(path, detector, *, mpp=0.25, roi=None, compute=CPU):
    with open_slide(path, mpp=mpp) as slide:
        return detect_slide(detector, slide, compute=compute, roi=roi).figures


def off(found, dots=DOTS):
    """Distance from each dot to the nearest detection, px."""
    return np.linalg.norm(np.array(dots)[:, None] - found.center_l0[None], axis=2).min(axis=1)


def test_a_detection_lies_at_the_peak_of_its_map(dotted):
    """Each figure once, its place to half a cell of the map; places that were looked at are as far off as the grid."""
    found = run(dotted, a_detector())
    assert len(found) == len(DOTS)
    assert off(found).max() < HALF_A_CELL
    looked_at = run(dotted, a_detector(a_stage(locate="place")))
    assert off(looked_at).max() > HALF_A_CELL


@pytest.mark.parametrize("proposer", [GridProposer(stride_px=32), NUCLEI])
def test_tiles_change_nothing(dotted, monkeypatch, proposer):
    """Peaks that leave their tile are merged as others are: the same places and scores, cut or whole."""
    whole = run(dotted, a_detector(proposer=proposer))
    monkeypatch.setattr(tile_reader, "TILE_PX", 64)
    parts = run(dotted, a_detector(proposer=proposer))
    assert len(whole) == len(parts) == len(DOTS)
    assert np.allclose(whole.center_l0, parts.center_l0, atol=1e-9)
    assert np.allclose(whole.score, parts.score, atol=1e-6)
    assert off(whole).max() < HALF_A_CELL


def test_chunks_and_readers_change_nothing(dotted, monkeypatch):
    """Places located a few at a time, or with pixels from other processes, lie where they lay."""
    detector = a_detector()
    whole = run(dotted, detector)
    monkeypatch.setattr("mitosieve.sieve.activation_peak.CHUNK", 3)
    few = run(dotted, detector)
    monkeypatch.undo()
    with Readers(1) as readers:
        source = SlideSource(path=dotted, slide_id="dotted", mpp=0.25)
        sieving = Sieving(detector, source, CPU, Clock(), readers)
        bands = []
        sieving.run(sieving.open(), set(), lambda number, scored: bands.append(scored))
    with open_slide(dotted, mpp=0.25) as slide:
        read = finish(type(bands[0]).concatenate(bands, columns_of(detector)), detector, slide, None).figures
    for other in (few, read):
        assert np.allclose(whole.center_l0, other.center_l0, atol=1e-9)


@pytest.mark.parametrize(("frame", "patch", "slide"), [(0.25, 0.5, 0.25), (0.3, None, 0.25), (0.5, 0.25, 0.25)])
def test_px_of_the_patch_are_not_px_of_the_slide(dotted, frame, patch, slide):
    """Frame, patch and slide may each have a resolution of their own; cells of the map are in the patch's px."""
    stage = a_stage(mpp=patch)
    found = run(dotted, a_detector(stage, mpp=frame, proposer=GridProposer(stride_px=24)), mpp=slide)
    assert len(found) == len(DOTS)
    assert off(found).max() < HALF_A_CELL * (patch or frame) / slide


def test_a_stage_before_the_last_may_locate(dotted):
    """What it calls is moved once all stages have let it through; later stages look at the place that was proposed."""
    found = run(dotted, a_detector(a_stage("first"), a_stage("second", locate="place")))
    alone = run(dotted, a_detector())
    assert np.allclose(found.center_l0, alone.center_l0)
    assert found.stage_names == ("first", "second")


def test_outside_the_roi_nothing_is_reported_and_inside_nothing_is_lost(tmp_path):
    """All peaks lie 15 um up and left of their place, so those in a small ROI come from places outside of it."""
    an_image(tmp_path / "s.png", width=400, height=320)
    detector = a_detector(
        a_stage(mpp=0.5),
        networks=((upper_left(),),),
        proposer=GridProposer(stride_px=16),
        merge_um=0.0,
        suppress_um=0.0,
    )
    roi = shapely.box(150, 100, 190, 150)
    inside, whole = run(tmp_path / "s.png", detector, roi=roi), run(tmp_path / "s.png", detector)
    wanted = whole.center_l0[shapely.contains_xy(roi, *whole.center_l0.T)]
    assert len(wanted) > 3
    assert np.array_equal(inside.center_l0, wanted)


def test_peaks_are_not_moved_again(dotted):
    """The nuclei proposer moves places onto their cell, but not those that lie at a peak: each is its place moved."""
    detector = a_detector(networks=((upper_left(),),), proposer=NUCLEI, merge_um=0.0, suppress_um=0.0)
    with open_slide(dotted, mpp=0.25) as slide:
        plan = plan_of(detector)
        seen = tile_reader.TileReader(slide, plan, survey(slide, plan))
        places = np.concatenate([seen.places(core) for band in seen.bands() for core in band])
    shift = locate_peaks(a_stage(), (upper_left(),), np.zeros((1, 64, 64, 3), dtype=np.uint8), CPU)
    wanted = np.unique(np.maximum(places + shift, 0), axis=0)
    assert len(wanted) > 5
    assert np.allclose(np.unique(run(dotted, detector).center_l0, axis=0), wanted)


@pytest.mark.parametrize(("within_um", "moved"), [(100.0, True), (0.5, False)])
def test_a_peak_too_far_away_moves_nothing(within_um, moved):
    """A place whose peak is farther than `locate_within_um` stays; reading then reaches no farther than that."""
    places = np.array([[200.0, 200.0], [300.0, 260.0]])
    stage = a_stage(locate_within_um=within_um)
    detector = a_detector(stage, networks=((upper_left(),),))
    images = np.random.default_rng(1).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)
    asking = located(detector, Region(x=0, y=0, w=512, h=512), places, CPU, Clock())
    next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(images)
    offset = locate_peaks(stage, detector.networks[0], images, CPU)
    far = np.linalg.norm(offset, axis=1) * 0.25 > 0.5
    assert far.all()
    np.testing.assert_allclose(end.value.value, places + offset if moved else places)
    assert locate_reach_um(detector.config) == pytest.approx(min(within_um, 64 * 0.25 / np.sqrt(2)))


def test_reading_reaches_as_far_as_a_peak_can_lie():
    """Half the diagonal of the patch, at its resolution, on top of what merging and suppression need; where none
    locates what a spot may be settled by, for a peak is not moved again.
    """
    both = 12 + 7.5
    assert plan_of(a_detector(a_stage(mpp=0.5))).reach_um == pytest.approx(both + 64 * 0.5 / np.sqrt(2))
    assert plan_of(a_detector(a_stage(locate="place"))).reach_um == both
    spots = {
        stage.locate: a_detector(stage, proposer=NucleiProposer()) for stage in (a_stage(locate="place"), a_stage())
    }
    assert plan_of(spots["place"]).reach_um == both + MOVE_UM
    assert plan_of(spots["activation"]).reach_um == pytest.approx(both + 64 * 0.25 / np.sqrt(2))
    assert locate_reach_um(a_detector(a_stage(locate="place")).config) == 0


def test_a_peak_in_the_margin_lies_on_the_edge(tmp_path):
    """A map that is largest beyond the slide names no place outside of it."""
    an_image(tmp_path / "s.png", width=200, height=160)
    found = run(tmp_path / "s.png", a_detector(networks=((upper_left(),),), merge_um=0.0))
    assert len(found) > 3
    assert (found.center_l0 >= 0).all()
    assert (found.center_l0 == 0).any()


def peaks_of(logits, side=64, above=0.9, least=0):
    networks = tuple(Given(item).eval() for item in logits)
    stage = a_stage(patch_px=side, locate_above=above, locate_least_px=least)
    return locate_peaks(stage, networks, np.zeros((2, side, side, 3), dtype=np.uint8), CPU)


def by_hand(area, side, above):
    """The rule in other words: torch's resize, scipy's areas."""
    size = (side, side)
    area = functional.interpolate(torch.tensor(area)[None, None], size=size, mode="bilinear")[0, 0].numpy().round(6)
    row, column = divmod(int(np.flatnonzero(area.ravel() == area.max())[0]), side)
    if area.max() < above:
        return np.array([column, row]) - (side - 1) / 2
    labels, _ = ndimage.label(area >= above, structure=np.ones((3, 3)))
    rows, columns = np.nonzero(labels == labels[row, column])
    return np.array([columns.mean(), rows.mean()]) - (side - 1) / 2


@pytest.mark.parametrize("above", [0.3, 0.9, 0.9999])
def test_a_peak_is_the_centroid_of_the_area_round_the_maximum(above):
    """By another way on random maps of any shape: areas of one place or many, and maxima that are too low."""
    rng = np.random.default_rng(0)
    for rows, columns in ((4, 4), (16, 16), (1, 5), (3, 7)):
        logits = rng.normal(0, 3, (rows, columns)).astype(np.float32)
        wanted = by_hand(1 / (1 + np.exp(-logits)), 64, above)
        assert np.allclose(peaks_of([logits], above=above), wanted, atol=0.02)


@pytest.mark.parametrize("least", [1, 7, 40, 10**4])
def test_of_areas_large_enough_the_highest_is_the_peak(least):
    """By another way on random maps: areas of fewer px are none, and a map without any has no peak."""
    rng = np.random.default_rng(1)
    without = 0
    for _ in range(40):
        logits = rng.normal(0, 3, (16, 16)).astype(np.float32)
        area = 1 / (1 + np.exp(-logits.astype(np.float64)))
        size = (64, 64)
        whole = functional.interpolate(torch.tensor(area)[None, None], size=size, mode="bilinear")[0, 0].numpy()
        labels, count = ndimage.label(whole >= 0.9, structure=np.ones((3, 3)))
        areas = [labels == number for number in range(1, count + 1)]
        areas = [each for each in areas if each.sum() >= least]
        found = peaks_of([logits], least=least)
        if not areas:
            without += 1
            assert np.isnan(found).all()
            continue
        best = max(areas, key=lambda each, whole=whole: whole[each].max())
        rows, columns = np.nonzero(best)
        assert np.allclose(found, np.array([columns.mean(), rows.mean()]) - 31.5, atol=0.1)
    assert (without == 40) == (least == 10**4)
    assert without > 0 or least < 40


def test_without_a_least_area_nothing_is_dropped():
    """Detectors of before: a map that is low all over has its maximum's place; asked for 1 px, it has none."""
    low = np.where(np.arange(16).reshape(4, 4) == 5, 1.0, -9.0)
    assert np.isfinite(peaks_of([low])).all()
    assert np.isnan(peaks_of([low], least=1)).all()
    assert a_stage().locate_least_px == 0


def test_a_place_without_a_peak_is_no_detection(dotted):
    """Whatever its score: all cells but those whose map is high enough over enough px; places of others do not move."""
    every = a_detector(a_stage(locate_above=0.5, threshold=0.0))
    found = run(dotted, every)
    asked = run(dotted, a_detector(a_stage(locate_above=0.5, threshold=0.0, locate_least_px=1)))
    none = run(dotted, a_detector(a_stage(locate_above=0.5, threshold=0.0, locate_least_px=64 * 64)))
    assert len(found) > len(asked) > 0 == len(none)
    assert {tuple(place) for place in asked.center_l0} <= {tuple(place) for place in found.center_l0}


def test_a_map_as_large_as_the_patch_is_looked_at_px_by_px():
    """A network that upsamples with aligned corners: its peaks are where its own map says, by every engine."""
    torch.manual_seed(2)
    config = CONFIG.model_copy(update={"align_corners": True})
    network, stage = build_network(config).eval(), a_stage(network=config, locate_above=0.5, locate_least_px=1)
    rng = np.random.default_rng(0)
    images = np.repeat(np.repeat(rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), 16, axis=1), 16, axis=2)
    found = locate_peaks(stage, (network,), images, CPU)
    with torch.no_grad():
        maps = network.activation(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
    for image, place in zip(maps, found, strict=True):
        labels, count = ndimage.label(image >= 0, structure=np.ones((3, 3)))
        if count == 0:
            assert np.isnan(place).all()
            continue
        rows, columns = np.nonzero(labels == labels.ravel()[np.where(labels > 0, image, -np.inf).argmax()])
        assert np.allclose(place, np.array([columns.mean(), rows.mean()]) - 31.5, atol=0.1)
    assert np.isfinite(found).any()
    assert np.allclose(locate_peaks(stage, (network,), images, ONNX), found, atol=0.1, equal_nan=True)


def test_equal_maxima_are_taken_by_y_then_x():
    """Two areas alike: the upper one; side by side: the left one. Below the threshold it is the maximum's own place."""
    logits = np.full((4, 4), -9.0)
    logits[0, 3] = logits[2, 1] = 9.0
    (x, y), _ = peaks_of([logits])
    assert (x > 16, y < -16) == (True, True)
    logits = np.full((4, 4), -9.0)
    logits[2, 0] = logits[2, 3] = 9.0
    assert (peaks_of([logits])[:, 0] < 0).all()
    low = np.where(logits > 0, 1.0, logits)
    assert np.allclose(peaks_of([low])[0, 1], 39 - 31.5)


def test_areas_that_touch_at_a_corner_are_one():
    """Eight neighbours: a diagonal is connected, and its middle is the peak."""
    logits = np.where(np.eye(64, dtype=bool), 9.0, -9.0)
    assert np.allclose(peaks_of([logits]), [0, 0])


def test_a_map_that_is_high_all_over_points_at_the_middle():
    """No place is preferred, so the detection stays where it was."""
    assert np.allclose(peaks_of([np.full((4, 4), 9.0)]), [0, 0])


def test_maps_of_several_networks_are_averaged():
    """As logits, as the scores are; twins say what one says."""
    rng = np.random.default_rng(3)
    one, two = rng.normal(0, 3, (2, 8, 8)).astype(np.float32)
    assert np.allclose(peaks_of([one, two]), peaks_of([(one + two) / 2]), atol=0.01)
    assert np.allclose(peaks_of([one, one]), peaks_of([one]), atol=0.01)


def test_peaks_are_the_same_by_every_engine():
    """Of a network as it is drawn, on patches with something to see; alone or beside others."""
    torch.manual_seed(2)
    network = build_network(CONFIG).eval()
    rng = np.random.default_rng(0)
    images = np.repeat(np.repeat(rng.integers(0, 256, (6, 4, 4, 3), dtype=np.uint8), 16, axis=1), 16, axis=2)
    stage = a_stage(locate_above=0.5)
    found = locate_peaks(stage, (network,), images, CPU)
    assert found.std(axis=0).max() > 1
    assert np.allclose(locate_peaks(stage, (network,), images, ONNX), found, atol=0.05)
    assert np.allclose(locate_peaks(stage, (network,), images[3:4], ONNX), found[3], atol=0.05)


def test_no_images_have_no_peaks():
    """An empty batch is answered."""
    nothing = np.zeros((0, 64, 64, 3), dtype=np.uint8)
    assert locate_peaks(a_stage(), (DarkMap(),), nothing, CPU).shape == (0, 2)


def test_a_detector_that_locates_comes_back(tmp_path, dotted):
    """Saved, loaded and described: the same keys and, with weights as they were drawn, the same places."""
    torch.manual_seed(4)
    stage = a_stage(locate_above=0.6, threshold=0.0)
    made = a_detector(stage, networks=((build_network(CONFIG).eval(),),), merge_um=4.0)
    loaded = Detector.load(made.save(tmp_path / "detector"))
    assert (loaded.config.stages[0].locate, loaded.config.stages[0].locate_above) == ("activation", 0.6)
    assert loaded.config.locating == 0
    assert isinstance(loaded.modules[0][0], ResNetCam)
    assert "peak of its map, threshold" in loaded.describe()
    asking = Detector(config=a_detector(a_stage(locate_least_px=7)).config, networks=made.networks)
    assert "peak of its map, 7 px of 0.9 or more asked for" in asking.describe()
    assert "peak of its map" not in a_detector(a_stage(locate="place")).describe()
    one, two = run(dotted, made), run(dotted, loaded)
    assert len(one) > 0
    assert np.array_equal(one.center_l0, two.center_l0)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"network": SwiftConfig()}, "kind swift have none: choose kind resnet"),
        ({"network": ChsNetConfig()}, "kind chsnet have none"),
        ({"views": "two"}, 'choose views "one"'),
        ({"fusion": "votes"}, 'choose fusion "mean"'),
        ({"locate_above": 1.5}, "less than or equal to 1"),
        ({"locate_least_px": -1}, "greater than or equal to 0"),
        ({"locate": "centroid"}, "'place' or 'activation'"),
    ],
)
def test_stages_that_cannot_locate_are_refused(wrong, told):
    """With what to choose instead."""
    with pytest.raises(ValidationError, match=told):
        a_stage(**wrong)


def test_only_one_stage_says_where():
    """Two would contradict each other."""
    with pytest.raises(ValidationError, match="only one stage"):
        DetectorConfig(stages=(a_stage("first"), a_stage("second")))


def test_a_resnet_is_no_map_of_patches():
    """Padding makes its map depend on borders: behind a dense proposer it is refused; in a later stage it locates."""
    with pytest.raises(ValidationError, match="kind swift or rototranslation"):
        DetectorConfig(proposer=DenseProposer(), stages=(a_stage(locate="place"),))
    first = Stage(name="map", network=SwiftConfig(), views="one", patch_px=32, threshold=0.0)
    config = DetectorConfig(proposer=DenseProposer(), stages=(first, a_stage()))
    assert config.locating == 1


def test_a_later_stage_locates_what_a_dense_one_proposed(dotted):
    """The whole chain: a map proposes, a ResNet scorer and says where."""
    torch.manual_seed(3)
    first = Stage(name="map", network=SwiftConfig(), mpp=0.5, views="one", patch_px=32, threshold=0.0)
    networks = ((SwiftNet(SwiftConfig()).eval(),), (DarkMap().eval(),))
    found = run(dotted, a_detector(first, a_stage(), networks=networks, proposer=DenseProposer(spacing_um=4.0)))
    assert len(found) == len(DOTS)
    assert off(found).max() < HALF_A_CELL
