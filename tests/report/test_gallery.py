import re

import numpy as np
import pytest
from made import Page, a_score, a_scored_run
from PIL import Image

from build import a_cohort, an_image
from mitosieve.cohort.cohort import Cohort
from mitosieve.report import write_report
from mitosieve.report.gallery import cut_crop, hardest, make_galleries
from mitosieve.score.outcome import Outcome, Outcomes, read_outcomes, write_outcomes
from mitosieve.slide.slide import open_slide


def cells_of(scores, outcome=Outcome.FOUND, slide="c0_s0"):
    n = len(scores)
    return Outcomes(
        slide_id=np.full(n, slide),
        center_l0=np.full((n, 2), 100.0),
        outcome=np.full(n, outcome.value),
        score=np.array(scores, dtype=np.float64),
        distance_um=np.full(n, np.nan),
        on_imposter=np.zeros(n, dtype=np.bool_),
    )


@pytest.mark.parametrize(
    ("outcome", "scores", "order"),
    [
        (Outcome.FOUND, [0.9, 0.5, 0.7], [1, 2, 0]),
        (Outcome.MISSED, [0.4, np.nan, 0.1, np.nan], [1, 3, 2, 0]),
        (Outcome.FALSE_ALARM, [0.6, 0.9, 0.6], [1, 0, 2]),
    ],
)
def test_the_hardest_come_first(outcome, scores, order):
    """Low scores of figures, no score before any, high scores of false alarms; ties by row."""
    cells = cells_of(scores, outcome)
    assert hardest(cells, outcome, 9).tolist() == order
    assert hardest(cells, outcome, 2).tolist() == order[:2]


def test_every_cell_has_its_picture_of_the_right_place(shared):
    """As many pictures as cells; each shows the slide around its cell, up to what WebP loses."""
    for outcome in Outcome:
        pictures = shared.page.pictures(outcome.value)
        assert len(pictures) == 3
        for slide_id, x, y, pixels in pictures:
            assert pixels.shape == (256, 256, 3)
            with shared.cohort.open(slide_id) as slide:
                whole = slide.read()
            near = whole[y - 20 : y + 21, x - 20 : x + 21]
            assert np.abs(pixels[108:149, 108:149].astype(int) - near).mean() < 6
            assert pixels[124:133, 124:133, 0].mean() < 100, "the dark disc is not in the middle"


def test_captions_tell_the_score_and_the_imposter(shared):
    """Found from 0.93, missed from 0.20, false alarms from 0.72, which lie on imposters."""
    text = re.sub(r"x \d+, y \d+", "at", shared.page.text).replace("10 µm ", "")
    assert "score 0.93 c2_s0 at score 0.94 c1_s0 at score 0.95 c0_s0 at" in text
    assert "score 0.20 c0_s0 at score 0.21 c1_s0 at score 0.22 c2_s0 at" in text
    assert "score 0.72 c2_s0 at marked imposter score 0.71 c1_s0 at marked imposter" in text


@pytest.mark.parametrize("mpp", [0.1, 0.2273, 0.25, 0.5])
def test_a_picture_is_as_wide_in_um_at_any_resolution(tmp_path, mpp):
    """64 um, the cell in the middle; finer slides are shrunk to bound the page."""
    an_image(tmp_path / "s.png", dots=[(200, 150)])
    with open_slide(tmp_path / "s.png", mpp=mpp) as slide:
        crop = cut_crop(slide, (200.0, 150.0))
    assert abs(crop.shape[0] * max(mpp, 0.2) - 64) <= max(mpp, 0.2)
    rows, columns = np.nonzero(crop[..., 0] < 120)
    middle = crop.shape[0] // 2
    assert abs(rows.mean() - middle) <= 0.6
    assert abs(columns.mean() - middle) <= 0.6


@pytest.mark.parametrize("mpp_xy", [(0.25, 0.5), (0.5, 0.25), (0.2, 0.25), (0.12, 0.25)])
def test_a_round_cell_is_round_on_oblong_pixels(tmp_path, mpp_xy):
    """64 um on both sides, a disc of 20 um as wide as high and in the middle; also at the slide's edge."""
    size = tuple(round(160 / side) for side in mpp_xy)
    rows, columns = np.mgrid[: size[1], : size[0]]
    for um in ((80.0, 90.0), (12.0, 11.0)):
        center = tuple(value / side - 0.5 for value, side in zip(um, mpp_xy, strict=True))
        away = np.hypot((columns - center[0]) * mpp_xy[0], (rows - center[1]) * mpp_xy[1])
        pixels = np.where((away <= 10)[..., None], 40, 220).astype(np.uint8).repeat(3, axis=2)
        Image.fromarray(pixels).save(tmp_path / "s.png")
        with open_slide(tmp_path / "s.png", mpp=mpp_xy) as slide:
            crop = cut_crop(slide, center)
        mpp = max(*mpp_xy, 0.2)
        assert crop.shape[0] == crop.shape[1] == round(64 / mpp)
        down, across = np.nonzero(crop[..., 0] < 130)
        for place in (down, across):
            assert (np.ptp(place) + 1) * mpp == pytest.approx(20, abs=1.5 * mpp)
            assert abs(place.mean() - crop.shape[0] // 2) <= 1.1


@pytest.mark.parametrize("center", [(0, 0), (399, 299), (3.4, 150), (200, 298.7), (-0.4, -0.4)])
def test_beyond_the_edge_is_grey_and_the_cell_stays_in_the_middle(tmp_path, center):
    """No pixel of the slide is moved, none is invented."""
    pixels = an_image(tmp_path / "s.png")
    with open_slide(tmp_path / "s.png", mpp=0.25) as slide:
        crop = cut_crop(slide, center)
    padded = np.pad(pixels, ((256, 256), (256, 256), (0, 0)), constant_values=238)
    x, y = (int(np.floor(value + 0.5)) + 256 for value in center)
    np.testing.assert_array_equal(crop, padded[y - 128 : y + 128, x - 128 : x + 128])


def test_a_slide_that_is_gone_is_named_and_the_others_are_shown(tmp_path):
    """The cells keep their place and their score."""
    run, cohort = a_scored_run(tmp_path)
    cohort.path_of("c1_s0").unlink()
    page = Page(write_report(run))
    assert len(page.pictures()) == 6
    assert "c1_s0: the image of this slide is missing" in page.text
    assert page.text.count("picture not available") == 3


def test_without_images_the_page_says_so(tmp_path):
    """Cohort unknown, cohort gone, outcomes gone: no gallery, all numbers."""
    run, cohort = a_scored_run(tmp_path)
    a_score(run / "unknown", cohort, says_cohort=False)
    lost = a_score(run / "lost", cohort)
    (lost / "outcomes.csv").unlink()
    (cohort.folder / "slides.csv").unlink()
    page = Page(write_report(run))
    assert not page.pictures()
    assert "detect.json beside metrics.json names no cohort" in page.text
    assert "the cohort of the images cannot be read" in page.text
    assert "there is no outcomes.csv" in page.text


def test_a_slide_of_another_cohort_is_a_fault_of_that_slide(tmp_path):
    """Outcomes that name an unknown slide do not end the report."""
    cohort = a_cohort(tmp_path, cases=1)
    galleries, faults = make_galleries(cells_of([0.9], slide="stranger"), cohort, 5)
    assert [gallery.total for gallery in galleries] == [1, 0, 0]
    assert faults
    assert faults[0].startswith("stranger: ")


def test_outcomes_read_are_those_written(tmp_path):
    """Unknown scores stay unknown; no cell at all is no fault."""
    cohort = Cohort.load(a_scored_run(tmp_path)[1].folder)
    for cells in (cells_of([0.5, np.nan], Outcome.MISSED, cohort.slides[0].slide_id), cells_of([])):
        again = read_outcomes(write_outcomes(tmp_path / "o.csv", cells))
        for name in ("slide_id", "center_l0", "outcome", "score", "distance_um", "on_imposter"):
            np.testing.assert_array_equal(getattr(again, name), getattr(cells, name))
