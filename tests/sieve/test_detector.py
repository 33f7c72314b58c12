"""Laws of the detector folder: it comes back as it was, or is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mitosieve.calibration import Logistic
from mitosieve.errors import DetectorError, InputError
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig
from mitosieve.network.registry import build_network, load_weights
from mitosieve.patch.frames import FrameConfig
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.slide.stain import reference_profile

TINY = ChsNetConfig(width=1 / 128)
NOTHING_KEPT = {"weights": (), "sha256": (), "graphs": {}, "graphs_sha256": {}}


def a_detector(sizes=(1, 2)):
    """Two stages; the second is an ensemble."""
    names = ("screening", "refined")
    torch.manual_seed(0)
    networks = tuple(tuple(build_network(TINY).eval() for _ in range(size)) for size in sizes)
    config = DetectorConfig(
        made_by="a test",
        frame=FrameConfig(mpp=0.3),
        proposer=GridProposer(stride_px=16, min_darkness=0.25),
        stages=tuple(Stage(name=name, network=TINY, threshold=0.1 + i / 3) for i, name in enumerate(names)),
        keep_above=0.01,
        stain_target=reference_profile().to_json(),
    )
    return Detector(config=config, networks=networks)


@pytest.fixture
def folder(tmp_path):
    return a_detector().save(tmp_path / "detector")


def contents(folder: Path):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def edit(folder, old, new):
    path = folder / "detector.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_saved_and_loaded_is_the_same(tmp_path, folder):
    """Configuration, weights and scores come back; saving what was loaded gives the same bytes."""
    made, loaded = a_detector(), Detector.load(folder)
    images = torch.rand(2, 6, 16, 16)
    with torch.no_grad():
        for ours, theirs in zip(made.modules, loaded.modules, strict=True):
            for one, two in zip(ours, theirs, strict=True):
                assert not two.training
                assert torch.equal(one(images), two(images))
    bare = [stage.model_copy(update=NOTHING_KEPT) for stage in loaded.config.stages]
    assert loaded.config.model_copy(update={"stages": tuple(bare)}) == made.config
    assert loaded.stain_target is not None
    assert np.array_equal(loaded.stain_target.matrix, reference_profile().matrix)
    assert contents(loaded.save(tmp_path / "again")) == contents(folder)
    assert set(contents(folder)) == {
        "detector.toml",
        "CARD.md",
        "screening.safetensors",
        "screening.onnx",
        "refined.safetensors",
        "refined_2.safetensors",
        "refined.onnx",
    }


def test_a_run_folder_stands_for_its_detector(folder):
    """The folder above `detector` can be named as well."""
    assert Detector.load(folder.parent).stage_names == ("screening", "refined")


def test_altered_weights_are_refused(folder):
    """One other byte in a weight file is noticed by its hash, and the file is named."""
    path = folder / "refined_2.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DetectorError, match="altered") as told:
        Detector.load(folder)
    assert "refined_2.safetensors" in str(told.value)


def test_an_altered_graph_is_refused(folder):
    """A graph is held against its hash as weights are."""
    path = folder / "refined.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(DetectorError, match="altered") as told:
        Detector.load(folder)
    assert "refined.onnx" in str(told.value)


def test_a_detector_of_before_has_no_graphs_and_scores_alike(folder):
    """Without its graphs a folder loads, and torch's weights are the same."""
    text = (folder / "detector.toml").read_text()
    kept = [line for line in text.splitlines() if not line.startswith("scores = ")]
    (folder / "detector.toml").write_text("\n".join(kept))
    old = Detector.load(folder)
    assert all(one.graphs == {} for networks in old.networks for one in networks)
    images = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 6), np.uint8)
    compute = Compute.choose("cpu")
    for before, now in zip(old.networks, Detector.load(folder).networks, strict=True):
        for one, other in zip(before, now, strict=True):
            found = [compute.engine_of(each, images).scores(images) for each in (one, other)]
            np.testing.assert_allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "told"),
    [("refined.safetensors", "missing"), ("screening.onnx", "missing"), ("detector.toml", "no detector here")],
)
def test_a_missing_file_is_named(folder, name, told):
    """What was not copied is said by name."""
    (folder / name).unlink()
    with pytest.raises(DetectorError, match=told) as error:
        Detector.load(folder)
    assert name in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("keep_above", "keep_abvoe", "keep_abvoe"),
        ("format = 1", "format = 2", "format 2"),
        ("format = 1", "", "format None"),
        ("stride_px = 16", "stride_px = 15", "stride_px"),
        ("suppress_um = 7.5", "suppress_um = -1.0", "suppress_um"),
        ("made_by =", "made_by", "not TOML"),
    ],
)
def test_a_wrong_detector_toml_is_refused_by_its_key(folder, old, new, told):
    """Unknown keys, other versions and impossible values are named, not guessed."""
    edit(folder, old, new)
    with pytest.raises(DetectorError, match=told):
        Detector.load(folder)


def test_a_stage_without_its_hash_is_refused(folder):
    """Weights whose hash is not known cannot be checked, so they are not used."""
    text = (folder / "detector.toml").read_text()
    start = text.index("sha256")
    (folder / "detector.toml").write_text(text[:start] + "sha256 = []\n" + text[text.index("]", start) + 1 :])
    with pytest.raises(DetectorError, match="hashes"):
        Detector.load(folder)


def test_weights_of_another_network_are_refused(folder, tmp_path):
    """A wider network, or a file that is no safetensors, does not fit."""
    with pytest.raises(DetectorError, match="weights of this network"):
        load_weights(build_network(ChsNetConfig(width=1 / 32)), folder / "refined.safetensors")
    (tmp_path / "noise").write_bytes(b"noise")
    with pytest.raises(DetectorError, match="weights of this network"):
        load_weights(build_network(TINY), tmp_path / "noise")


def test_another_threshold_changes_nothing_else():
    """with_threshold moves the last stage's threshold alone; the networks are the same objects."""
    made = a_detector()
    moved = made.with_threshold(0.9)
    assert (made.config.threshold, moved.config.threshold) == (pytest.approx(0.1 + 1 / 3), 0.9)
    assert moved.config.stages[0] == made.config.stages[0]
    assert moved.networks is made.networks
    assert moved.with_threshold(made.config.threshold).config == made.config
    with pytest.raises(ValueError, match="less than or equal to 1"):
        made.with_threshold(1.5)


def test_a_detector_describes_itself():
    """Each stage has its line, and the card says what it is not for."""
    lines = a_detector().describe().splitlines()
    assert [line.split(":")[0] for line in lines] == ["proposer", "stage screening", "stage refined", "suppression"]
    assert "2 network(s)" in lines[2]


POINTS = {"sensitive": 0.2, "balanced": 0.4, "specific": 0.8}


def test_operating_points_and_calibration_come_back(tmp_path):
    """Names, thresholds and the map survive saving; each point is its threshold and changes nothing else."""
    made = a_detector().with_points(POINTS, Logistic(slope=0.5, offset=-1.25))
    loaded = Detector.load(made.save(tmp_path / "detector"))
    assert (loaded.config.points, loaded.config.threshold) == (POINTS, 0.4)
    assert loaded.config.calibration == Logistic(slope=0.5, offset=-1.25)
    for name, value in POINTS.items():
        moved = loaded.at_point(name)
        assert moved.config.threshold == value
        assert moved.networks is loaded.networks
        assert moved.config.stages[:-1] == loaded.config.stages[:-1]
    with pytest.raises(InputError, match="no operating point 'sensible'") as told:
        loaded.at_point("sensible")
    assert "did you mean 'sensitive'? it has sensitive, balanced, specific" in str(told.value)


def test_a_detector_of_before_has_one_point(folder):
    """Without names, `balanced` is the threshold that there is, and detector.toml has no table of them."""
    loaded = Detector.load(folder)
    assert loaded.config.points == {"balanced": loaded.config.threshold}
    assert loaded.at_point("balanced") is loaded
    assert "operating_points" not in (folder / "detector.toml").read_text()
    with pytest.raises(InputError, match="it has balanced"):
        loaded.at_point("sensitive")


def test_a_threshold_of_its_own_has_no_names():
    """After with_threshold the named points are gone: they would not be this detector's any more."""
    moved = a_detector().with_points(POINTS).with_threshold(0.6)
    assert moved.config.points == {"balanced": 0.6}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("balanced = 0.4", "balanced = 0.5", "they are one thing"),
        ("balanced = 0.4\n", "", "they are one thing"),
        ("sensitive = 0.2", "sensitive = 2.0", "operating_points.sensitive"),
        ("sensitive = 0.2", '"Very sensitive" = 0.2', "operating_points"),
        ("slope = 0.5", "slope = -0.5", "slope"),
        ('kind = "logistic"', 'kind = "temperature"', "temperature"),
    ],
)
def test_points_that_contradict_the_detector_are_refused(tmp_path, old, new, told):
    """`balanced` and the last stage's threshold are one number; shares are shares; a calibration does not fall."""
    folder = a_detector().with_points(POINTS, Logistic(slope=0.5, offset=-1)).save(tmp_path / "detector")
    edit(folder, old, new)
    with pytest.raises(DetectorError, match=told):
        Detector.load(folder)
