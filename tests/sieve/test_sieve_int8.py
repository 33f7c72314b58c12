"""Laws of a detector's int8 graphs: of its own weights, measured, whole; else the folder, or the job, is refused."""

import tomllib
from dataclasses import replace

import numpy as np
import pytest
import tomli_w

from mitosieve.errors import DetectorError, InputError
from mitosieve.network.compute import Compute
from mitosieve.network.config import SwiftConfig
from mitosieve.network.int8 import int8_bytes
from mitosieve.network.registry import build_network
from mitosieve.run.folder import hash_file
from mitosieve.scan import Scan, items_of_images, scan
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import NucleiProposer
from tiny import images

NETWORK = SwiftConfig(input_px=32, widths=(8, 16), depths=(1, 1), head=16, stem=8)
PATCHES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Two stages, of which the first has an int8 graph."""
    stages = tuple(Stage(name=name, network=NETWORK, views="one", patch_px=32) for name in ("screening", "refined"))
    config = DetectorConfig(proposer=NucleiProposer(), stages=stages)
    networks = tuple((build_network(NETWORK).eval(),) for _ in stages)
    made = Detector(config=config, networks=networks).save(tmp_path / "detector")
    (made / "screening-int8.onnx").write_bytes(int8_bytes(networks[0][0], PATCHES))
    content = tomllib.loads((made / "detector.toml").read_text())
    content["int8"] = {
        "graphs": [["screening-int8.onnx"], []],
        "sha256": [[hash_file(made / "screening-int8.onnx")], []],
        "made_of": [digest for stage in content["stages"] for digest in stage["sha256"]],
        "ap": 0.70,
        "ap_float32": 0.7040,
        "measured_on": "case 1",
    }
    (made / "detector.toml").write_text(tomli_w.dumps(content))
    return made


def edited(folder, **changes):
    content = tomllib.loads((folder / "detector.toml").read_text())
    content["int8"].update(changes)
    (folder / "detector.toml").write_text(tomli_w.dumps(content))
    return folder


def a_job(folder, out, engine):
    compute = Compute(device="cpu", precision="32-true", engine=engine)
    items = items_of_images(images()[:1], mpp="0.25", roi=None)
    return Scan(detector=folder, items=items, out=out, origin={}, compute=compute)


def test_a_job_says_what_it_was_computed_in(folder, tmp_path):
    """Int8 where it is asked for, float32 else; going on with the other is refused."""
    for engine, words in (("int8", "int8"), ("onnxruntime", "float32")):
        scan(a_job(folder, tmp_path / engine, engine))
        assert f'"precision": "{words}"' in (tmp_path / engine / "run.json").read_text()
    with pytest.raises(InputError, match=r"was started with another engine(, precision)?; resuming would mix"):
        scan(replace(a_job(folder, tmp_path / "int8", "onnxruntime"), resume=True))


def test_float32_is_not_changed_by_their_presence(folder):
    """Saved again they are gone, for they were measured of the weights as they lay there."""
    loaded = Detector.load(folder)
    assert loaded.config.int8 is not None
    again = Detector.load(loaded.save(folder.parent / "again"))
    assert again.config.int8 is None
    one, other = (each.networks[0][0] for each in (loaded, again))
    compute = Compute(device="cpu", precision="32-true", engine="onnxruntime")
    found = [compute.engine_of(each, PATCHES).scores(PATCHES) for each in (one, other)]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ap": 0.699}, "lose 0.0050"),
        ({"made_of": ["0" * 64, "0" * 64]}, "other weights"),
        ({"graphs": [["screening-int8.onnx", "b.onnx"], []]}, "not as many"),
        ({"graphs": [["screening-int8.onnx"]]}, "not as many"),
        ({"sha256": [["0" * 64], []]}, "altered"),
        ({"graphs": [["gone.onnx"], []]}, "missing"),
    ],
)
def test_graphs_that_may_not_be_used_refuse_the_folder(folder, changes, words):
    with pytest.raises(DetectorError, match=words):
        Detector.load(edited(folder, **changes))


def test_a_detector_without_them_is_refused_before_anything_is_written(folder, tmp_path):
    bare = Detector.load(folder).save(tmp_path / "bare")
    with pytest.raises(DetectorError, match="no int8 graphs"):
        scan(a_job(bare, tmp_path / "out", "int8"))
    assert not (tmp_path / "out").exists()
