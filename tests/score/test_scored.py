"""Laws of figures that are computed from detections in the order of their scores, for any resample of the slides."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mitosieve.score.evaluation import EvaluateConfig, evaluate
from mitosieve.score.scored import FIGURES, Scored
from mitosieve.score.table import SlideScore
from scene import a_bare_cohort, found

NUM_SLIDES = 4
FAST = EvaluateConfig(resamples=2)


def drawn_marks(seed):
    draw = np.random.default_rng(seed)
    marks = [(int(s), int(x), int(y)) for s, x, y in draw.integers(0, (NUM_SLIDES, 120, 120), (20, 3))]
    rows = [(*map(int, draw.integers(0, (NUM_SLIDES, 120, 120))), draw.integers(0, 11) / 10) for _ in range(40)]
    return marks, rows


def a_scored(marks, rows, num_slides=NUM_SLIDES):
    cohort = a_bare_cohort(num_slides, marks, cases=[f"c{s}" for s in range(num_slides)])
    return Scored.of(found(rows), cohort, cohort.cases), cohort


def values_of(result):
    """Figures by the way of evaluate, which knows no resamples."""
    return {
        "f1": result.f1,
        "precision": result.precision,
        "recall": result.recall,
        "ap": result.ap,
        "froc": result.froc.area,
        "count_difference_per_mm2": result.agreement().mean_difference,
    }


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_on_the_slides_as_they_are_every_figure_is_that_of_evaluate(seed):
    """Same matching, same thresholds, same curves."""
    marks, rows = drawn_marks(seed)
    scored, cohort = a_scored(marks, rows)
    expected = values_of(evaluate(found(rows), cohort, config=FAST))
    for name, figure in FIGURES.items():
        assert figure(scored, scored.once)[0] == pytest.approx(expected[name], nan_ok=True), name


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 3), min_size=NUM_SLIDES, max_size=NUM_SLIDES))
def test_a_slide_that_is_drawn_twice_counts_as_two_slides(seed, times):
    """The oracle copies slides with their marks and detections, and evaluates the larger cohort; FROC's thresholds are
    of the scores that occur, so it is compared where every slide is drawn."""
    marks, rows = drawn_marks(seed)
    scored, _ = a_scored(marks, rows)
    copies = [slide for slide, number in enumerate(times) for _ in range(number)]
    if not copies:
        return
    more_marks = [(place, *m[1:]) for place, slide in enumerate(copies) for m in marks if m[0] == slide]
    more_rows = [(place, *r[1:]) for place, slide in enumerate(copies) for r in rows if r[0] == slide]
    cohort = a_bare_cohort(len(copies), more_marks, cases=[f"c{s}" for s in range(len(copies))])
    expected = values_of(evaluate(found(more_rows), cohort, config=FAST))
    order = [int(row.slide_id.removeprefix("s")) for row in scored.slides]
    drawn = np.array([[times[slide] for slide in order]], np.int32)
    for name, figure in FIGURES.items():
        if name != "froc" or min(times) > 0:
            assert figure(scored, drawn)[0] == pytest.approx(expected[name], nan_ok=True), name


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_parts_joined_are_the_whole(seed):
    """Scored fold by fold and joined, or all at once: the same figures, slide by slide and pooled."""
    marks, rows = drawn_marks(seed)
    whole, cohort = a_scored(marks, rows)
    parts = [
        Scored.of(found([r for r in rows if r[0] in slides]), cohort, tuple(f"c{s}" for s in slides))
        for slides in ((2, 0), (3, 1))
    ]
    joined = Scored.join(parts).ordered()
    assert joined.slides == whole.ordered().slides
    for name, figure in FIGURES.items():
        assert figure(joined, joined.once)[0] == pytest.approx(figure(whole, whole.once)[0], nan_ok=True), name
    keep = np.array([row.case_id in ("c0", "c2") for row in joined.slides])
    for name, figure in FIGURES.items():
        part = joined.part(keep)
        assert figure(part, part.once)[0] == pytest.approx(figure(parts[0], parts[0].once)[0], nan_ok=True), name


def test_many_resamples_are_done_in_chunks_alike():
    """More resamples than are worked on at once give each what it gives alone."""
    scored, _ = a_scored(*drawn_marks(3))
    times = np.random.default_rng(0).integers(0, 3, (450, NUM_SLIDES)).astype(np.int32)
    for figure in FIGURES.values():
        alone = [figure(scored, row[None])[0] for row in times]
        np.testing.assert_array_equal(figure(scored, times), alone)


@pytest.mark.parametrize("figure", ["ap", "froc"])
def test_memory_is_bounded_however_many_detections_there_are(figure):
    """Of 100,000 detections 100 resamples at once would be half a gigabyte; values are those of each alone."""
    draw = np.random.default_rng(0)
    slides = tuple(
        SlideScore(slide_id=f"s{k}", case_id=f"c{k}", domain="d", area_mm2=1.0, tp=0, fp=0, fn=600) for k in range(50)
    )
    n = 100_000
    score = np.sort(draw.random(n).round(4))[::-1]
    many = Scored(slides=slides, score=score, slide=draw.integers(50, size=n), gain=draw.integers(2, size=n))
    times = draw.multinomial(50, np.full(50, 1 / 50), size=100).astype(np.int32)
    tracemalloc.start()
    values = FIGURES[figure](many, times)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160e6
    alone = [FIGURES[figure](many, times[row : row + 1])[0] for row in (0, 31, 99)]
    assert values[[0, 31, 99]].tolist() == alone


def test_without_detections_or_figures_nothing_is_invented():
    """No detection: recall and areas are 0; no figure: what hangs on figures is not defined."""
    empty, _ = a_scored([(0, 10, 10)], [])
    assert FIGURES["ap"](empty, empty.once)[0] == 0
    assert FIGURES["froc"](empty, empty.once)[0] == 0
    assert np.isnan(FIGURES["precision"](empty, empty.once)[0])
    none, _ = a_scored([], [(0, 10, 10, 0.9)])
    assert np.isnan(FIGURES["ap"](none, none.once)[0])
    assert np.isnan(FIGURES["froc"](none, none.once)[0])
    blind = replace(none, slides=tuple(replace(row, area_mm2=float("nan")) for row in none.slides))
    assert np.isnan(FIGURES["count_difference_per_mm2"](blind, blind.once)[0])
