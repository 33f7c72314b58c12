"""What a job draws of a slide."""

import json

import cv2
import numpy as np

from mitosieve import Detector
from tiny import ONE_CORE, a_run, images, mitosieve

MPP, WIDTH, HEIGHT = 0.25, 4800, 768
MAP_PX, MARGIN_PX = 900, 12
"""Of the drawn map: its width, and where it begins."""


def the_map(folder, *words):
    """uint8 (h, 900, 3): what is drawn over the slide."""
    told = mitosieve("detect", *words, "--out", folder, *ONE_CORE, "--workers", 0)
    assert told.code == 0, told.err
    picture = cv2.imread(str(folder / "heatmaps" / "strip.png")).astype(int)
    return picture[MARGIN_PX : MARGIN_PX + HEIGHT * MAP_PX // WIDTH, MARGIN_PX : MARGIN_PX + MAP_PX]


def test_the_heat_map_of_an_area_is_of_the_area(tmp_path):
    """Tissue that was not searched has no colour, for nobody knows its density; within the area there is some."""
    block = np.concatenate([cv2.imread(str(path)) for path in images()], axis=1)
    cv2.imwrite(str(tmp_path / "strip.png"), np.tile(block, (2, 4, 1))[:HEIGHT, :WIDTH])
    ring = [[0, 0], [WIDTH // 2, 0], [WIDTH // 2, HEIGHT], [0, HEIGHT], [0, 0]]
    (tmp_path / "half.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    whole = Detector.load(a_run())
    coarse = whole.config.model_copy(update={"proposer": whole.config.proposer.model_copy(update={"stride_px": 64})})
    detector = Detector(config=coarse, networks=whole.networks).save(tmp_path / "detector")
    words = ("--detector", detector, tmp_path / "strip.png", "--mpp", MPP, "--roi", tmp_path / "half.geojson")
    found = the_map(tmp_path / "found", *words, "--threshold", 0)
    plain = the_map(tmp_path / "plain", *words, "--threshold", 1)
    colored = np.abs(found - plain).max(axis=(0, 2)) > 1
    assert colored[: MAP_PX // 2 - 10].mean() > 0.9
    assert not colored[MAP_PX // 2 + 10 : -30].any()  # the scale bar's end is drawn over the colour, or over none
