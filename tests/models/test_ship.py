"""Laws of `bench/ship.py`: a detector goes into the box whole, with points from elsewhere, or not at all."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import tomli_w
import torch
from safetensors.torch import load_file

from boxed import ROOT, a_box, a_card, a_tiny_detector, shipping
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import InputError
from mitosieve.models.box import folder_of, names
from mitosieve.models.card import read_card
from mitosieve.score.out_of_fold import read_out_of_fold
from mitosieve.sieve.detector import Detector
from tiny import a_cohort, a_run, a_scan, files_of


def test_the_script_ships_a_run_with_points_and_calibration(tmp_path):
    """From a training and its evaluated detections: it works at the chosen points; the card tells what they gave."""
    (tmp_path / "box").mkdir()
    (tmp_path / "card.toml").write_text(tomli_w.dumps(a_card().model_dump(mode="json", exclude_none=True)))
    words = [a_run(), "made", "--card", tmp_path / "card.toml", "--box", tmp_path / "box"]
    words += ["--out-of-fold", a_scan(), "--cohort", a_cohort(), "--calibration", "none"]
    command = [sys.executable, str(ROOT / "bench" / "ship.py"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = folder_of("made", tmp_path / "box")
    made, card = Detector.load(folder), read_card(folder / "card.toml")
    curve = read_out_of_fold([a_scan()], Cohort.load(a_cohort())).sweep()
    for point in card.points:
        tp, fp = curve.at(np.array([made.config.points[point.name]]))
        assert point.recall == pytest.approx(tp[0] / curve.num_figures, abs=1e-6)
        assert point.precision == pytest.approx(tp[0] / (tp[0] + fp[0]), abs=1e-6)
    assert set(made.config.points) == {"sensitive", "balanced", "specific"}
    assert made.config.threshold == made.config.points["balanced"]
    assert card.calibration is not None
    assert sum(row.number for row in card.calibration.bins) == curve.tp[-1] + curve.fp[-1]
    assert made.config.calibration is None
    for ours, shipped in zip(Detector.load(a_run()).modules, made.modules, strict=True):
        for mine, theirs in zip(ours, shipped, strict=True):
            kept = theirs.state_dict()
            assert all(torch.equal(value.half(), kept[name].half()) for name, value in mine.state_dict().items())
            assert all(value.dtype == kept[name].dtype for name, value in mine.state_dict().items())
    for path in folder.glob("*.safetensors"):
        assert not any(value.dtype == torch.float32 for value in load_file(path).values())


def test_a_box_that_would_be_too_heavy_stays_as_it_was(tmp_path, monkeypatch):
    """The limit is of all detectors together; one that is replaced does not count."""
    box = a_box(tmp_path / "box")
    before = files_of(box)
    ship = shipping()
    monkeypatch.setattr(ship, "LIMIT_BYTES", sum(map(len, before.values())) * 3 // 2)
    ship.ship(a_tiny_detector(), a_card(), "tiny", box)
    with pytest.raises(InputError, match="limit"):
        ship.ship(a_tiny_detector(), a_card(), "second", box)
    assert files_of(box) == before
    assert names(box) == ("tiny",)


@pytest.mark.parametrize("name", ["a/b", "..", "", "default"])
def test_names_that_are_none(tmp_path, name):
    """Nothing leaves the box by its name, and `default` stands for another."""
    with pytest.raises(InputError, match="name"):
        shipping().ship(a_tiny_detector(), a_card(), name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_script_says_what_is_wrong(tmp_path):
    """One line on the error stream and a code that is not 0; the box stays empty."""
    (tmp_path / "card.toml").write_text("[")
    shutil.copytree(a_run() / "detector", tmp_path / "d")
    command = [sys.executable, str(ROOT / "bench" / "ship.py"), str(tmp_path / "d"), "x"]
    command += ["--card", str(tmp_path / "card.toml"), "--box", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ship: {tmp_path / 'card.toml'}: is not TOML")
    assert not (tmp_path / "x").exists()
