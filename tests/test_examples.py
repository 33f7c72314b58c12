"""The examples run from the first cell to the last, as scripts, on synthetic tissue."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pandas as pd
import pytest
import tifffile

from tiny import images

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *words, cwd):
    told = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"},
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_count_a_slide(tmp_path):
    """Its table, its points and its picture are there, whether the slide states its resolution or not."""
    pixels = cv2.imread(str(images()[0]))[:, :, ::-1]
    stated = {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "slide.tif", pixels, photometric="rgb", **stated)
    out = run("count_a_slide.py", tmp_path / "slide.tif", cwd=tmp_path)
    assert "hotspot: " in out
    table = pd.read_csv(tmp_path / "detections.csv")
    assert {"slide_id", "x", "y", "score", "is_figure"} <= set(table.columns)
    assert {path.name for path in tmp_path.iterdir()} >= {"cells.png", "detections.geojson"}
    assert run("count_a_slide.py", images()[0], 0.25, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.long
def test_train_mine_compare(tmp_path):
    """Two runs, two scores, and their difference with an interval."""
    out = run("train_mine_compare.py", tmp_path / "work", cwd=tmp_path)
    assert "mined - unmined: f1" in out
    for name in ("mined", "unmined"):
        assert (tmp_path / "work" / name / "test" / "metrics.csv").exists()
        assert (tmp_path / "work" / f"{name}.png").exists()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_are_cells(path):
    """An editor that knows `# %%` finds cells, each with a heading."""
    heads = [line for line in path.read_text().splitlines() if line.startswith("# %%")]
    assert len(heads) >= 5
    assert all(len(line) > len("# %% x") for line in heads)
