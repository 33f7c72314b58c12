"""Cells at a border, seen by a network that was trained for a minute on synthetic tissue."""

import numpy as np
import pytest

from mitosieve import Cohort, Detector
from mitosieve.geometry import Region
from mitosieve.network.compute import Compute
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import Frame, look_at, render
from mitosieve.phantom import PhantomConfig, make_phantom, read_truth
from stage_scores import score_places
from tiny import ONE_CORE, mitosieve

EDGES_PX = (6, 14, 24)
CPU = Compute(device="cpu", precision="32-true")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A cohort and a screening network that tells its figures from background."""
    folder = tmp_path_factory.mktemp("border")
    config = PhantomConfig(cases=4, slides_per_case=1, size_px=(640, 640), figures_per_mm2=500.0, difficulty=0.1)
    make_phantom(folder / "cohort", config, np.random.default_rng(3))
    split = ["split", folder / "cohort", "--folds", 4, "--out", folder / "split.json"]
    assert mitosieve(*split).code == 0
    settings = (
        "network.width=0.0625",
        "network.batch_norm_decay=0.9",
        "screening.batch_size=32",
        "screening.patch_visits=4800",
        "screening.ema_decay=0.9",
        "screening.validations=0",
        "mining.enabled=false",
        "cascade.enabled=false",
        "thresholds.operating=0.5",
        "refined.patch_visits=32",
        "refined.batch_size=16",
    )
    words = ["train", "chsnet-small", folder / "cohort", "--split", folder / "split.json", "--fold", "A"]
    told = mitosieve(
        *words, "--out", folder / "run", *ONE_CORE, "--precision", "32-true", "--set", "cascade.parts_too=true",
        *(word for setting in settings for word in ("--set", setting)),
    )  # fmt: skip
    assert told.code == 0, told.err
    return Cohort.load(folder / "cohort"), Detector.load(folder / "run" / "detector-screening-alone"), folder


def scores(trained, wanted):
    """Score of each wanted cell as it is, and with the slide ending `edge` px to its left: (N, 1 + edges)."""
    cohort, detector, folder = trained
    stage, networks = detector.config.stages[0], detector.networks[0]
    truth = read_truth(folder / "cohort")
    rows = []
    for entry in cohort.slides:
        with cohort.open(entry.slide_id) as slide:
            look = look_at(slide, detector.stain_target)
            whole = render(slide, slide.bounds, mpp=0.25, margin_px=margin_for(stage.patch_px), look=look)
            mine = truth.slide_id == entry.slide_id
            inside = (truth.center_l0 > 90).all(axis=1) & (truth.center_l0 < 640 - 90).all(axis=1)
            for center in truth.center_l0[mine & inside & wanted(truth)][:25]:
                row = [score_places(stage, networks, whole, center[None], CPU)[0]]
                for edge in EDGES_PX:
                    left = int(center[0]) - edge
                    part = Region(x=left, y=0, w=640 - left, h=640)
                    pixels = render(slide, part, mpp=0.25, margin_px=0, look=look).pixels
                    margin = margin_for(stage.patch_px)
                    canvas = np.empty((640 + 2 * margin, 640 - left + 2 * margin, 3), dtype=np.uint8)
                    canvas[:] = look.background
                    canvas[margin:-margin, margin:-margin] = pixels
                    shown = Frame(pixels=canvas, origin_px=(left - margin, -margin))
                    row.append(score_places(stage, networks, shown, center[None], CPU)[0])
                rows.append(row)
    return np.array(rows)


def test_the_network_tells_figures_from_the_rest(trained):
    """Otherwise the next law would say nothing."""
    figures = scores(trained, lambda truth: truth.true_label == "mitotic figure")[:, 0]
    others = scores(trained, lambda truth: truth.true_label == "background")[:, 0]
    assert figures.mean() > others.mean() + 0.2


def test_border_cells_score_no_higher_than_the_same_cells_inside(trained):
    """Where a slide ends beside a cell that is no figure, its score does not rise: the padding is no cue."""
    rows = scores(trained, lambda truth: truth.true_label != "mitotic figure")
    assert len(rows) >= 50
    inside, border = rows[:, 0].mean(), rows[:, 1:].mean(axis=0)
    assert (border <= inside + 0.03).all(), (inside, border)
