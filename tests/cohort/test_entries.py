"""Oblong pixels are kept by a cohort and used by training and evaluation: a um is a um in x and in y."""

import dataclasses

import cv2
import numpy as np
import pytest
import tifffile

from mitosieve.annotation import Annotations
from mitosieve.cohort.cohort import Cohort
from mitosieve.detection import Detections
from mitosieve.errors import CohortError
from mitosieve.geometry import inside_roi
from mitosieve.score.evaluation import evaluate
from tiny import mitosieve

SIDES = (0.25, 0.2)
"""um per px in x and y of the slides made here."""


def a_tiff(path, pixels, *, sides=SIDES):
    per_cm = tuple(10_000 / side for side in sides)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(64, 64), resolution=per_cm, resolutionunit="CENTIMETER")
    return path


def a_cohort(folder, *, sides=SIDES, points=((100, 100), (200, 150))):
    """One slide with figures, imported from a table of points."""
    folder.mkdir()
    (folder / "images").mkdir()
    a_tiff(folder / "images" / "a.tif", np.full((300, 400, 3), 200, np.uint8), sides=sides)
    rows = "".join(f"a.tif,{x},{y},mitotic figure\n" for x, y in points)
    (folder / "l.csv").write_text(f"image,x,y,label\n{rows}")
    told = mitosieve("import", "points", folder / "l.csv", folder / "cohort", "--images", folder / "images")
    assert told.code == 0, told.err
    return Cohort.load(folder / "cohort")


def test_a_cohort_keeps_both_sides(tmp_path):
    """Imported from the file, saved, loaded, opened and measured; a square slide leaves the table as it was."""
    cohort = a_cohort(tmp_path / "o")
    entry = cohort.slides[0]
    assert entry.mpp_xy == pytest.approx(SIDES)
    assert entry.mpp == pytest.approx(sum(SIDES) / 2)
    assert entry.area_mm2 == pytest.approx(400 * 300 * 0.25 * 0.2 / 1e6)
    with cohort.open(entry.slide_id) as slide:
        assert slide.mpp_xy == entry.mpp_xy
    assert Cohort.load(cohort.save(tmp_path / "again")).slides == cohort.slides
    square = a_cohort(tmp_path / "s", sides=(0.25, 0.25))
    assert square.slides[0].oblong is None
    assert "mpp_x" not in (square.folder / "slides.csv").read_text()


@pytest.mark.parametrize(("x", "y"), [("0.25", ""), ("0.25", "x"), ("0.25", "0.9"), ("0", "0.45"), ("nan", "0.2")])
def test_sides_that_cannot_be(tmp_path, x, y):
    """A row whose sides are no numbers, or whose mean is not its mpp, is named."""
    cohort = a_cohort(tmp_path / "o")
    text = (cohort.folder / "slides.csv").read_text()
    (cohort.folder / "slides.csv").write_text(text.replace(",0.25,0.2\n", f",{x},{y}\n"))
    with pytest.raises(CohortError, match="mpp_x"):
        Cohort.load(cohort.folder)


@pytest.mark.parametrize(("offset", "found"), [((29, 0), 1), ((31, 0), 0), ((0, 36), 1), ((0, 38.5), 0)])
def test_evaluation_measures_along_each_axis(tmp_path, offset, found):
    """7.5 um are 30 px along x and 37.5 px along y."""
    cohort = a_cohort(tmp_path / "o", points=((100, 100),))
    place = np.array([(100.0 + offset[0], 100.0 + offset[1])])
    detections = Detections.of(slide_id=[cohort.slides[0].slide_id], center_l0=place, score=[0.9])
    assert evaluate(detections, cohort).pooled.tp == found


def test_training_sees_the_tissue_undistorted(tmp_path):
    """A slide stretched in y and one that is not give places, and patches, of the same cells."""
    from mitosieve.models.box import detector_folder
    from mitosieve.sieve.cascade import plan_of
    from mitosieve.sieve.detector import Detector
    from mitosieve.train.proposals import propose

    told = mitosieve("phantom", tmp_path / "p", "--cases", 1, "--slides-per-case", 1, "--size", 512, "--seed", 3)
    assert told.code == 0
    square = Cohort.load(tmp_path / "p")
    entry = square.slides[0]
    pixels = cv2.imread(str(square.path_of(entry.slide_id)))[..., ::-1]
    tall = cv2.resize(pixels, (pixels.shape[1], round(pixels.shape[0] * 1.25)), interpolation=cv2.INTER_CUBIC)
    a_tiff(tmp_path / "tall.tif", tall, sides=(entry.mpp, entry.mpp / 1.25))
    oblong = dataclasses.replace(
        entry, path=str(tmp_path / "tall.tif"), mpp=entry.mpp * 0.9, oblong=(entry.mpp, entry.mpp / 1.25),
        height_l0=tall.shape[0],
    )  # fmt: skip
    other = Cohort(tmp_path, (oblong,), Annotations.concatenate([square.annotations]))
    plan = plan_of(Detector.load(detector_folder("default")))
    mine, theirs = (
        propose(cohort, slide, plan).center_l0 * slide.mpp_xy for cohort, slide in ((square, entry), (other, oblong))
    )
    near = np.linalg.norm(mine[:, None] - theirs[None], axis=2).min(axis=1)
    assert np.mean(near < 1.0) > 0.9


def test_marks_count_where_a_slide_was_searched(tmp_path):
    """Its edge belongs to a ROI; without one all marks count, and on an unlabelled slide none does."""
    cohort = a_cohort(tmp_path / "c", points=((10, 10), (50, 20), (51, 20), (60, 60)))
    (entry,) = cohort.slides
    assert len(cohort.known_marks) == 4
    limited = cohort.with_entries(lambda e: dataclasses.replace(e, roi_wkt="POLYGON ((0 0, 50 0, 50 50, 0 50, 0 0))"))
    assert limited.known_marks.center_l0.tolist() == [[10, 10], [50, 20]]
    assert inside_roi(limited.slides[0].roi, cohort.annotations.center_l0).tolist() == [True, True, False, False]
    assert inside_roi(entry.roi, np.zeros((0, 2))).shape == (0,)
    assert len(cohort.with_entries(lambda e: dataclasses.replace(e, labelled=False)).known_marks) == 0
