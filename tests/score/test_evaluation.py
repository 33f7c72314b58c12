import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import a_cohort
from mitosieve.detection import Detections
from mitosieve.errors import FormatError, FrameError, SplitError
from mitosieve.export.table import write_detections
from mitosieve.run.folder import write_json
from mitosieve.score.evaluated import compare_folders, evaluate_folder, with_unseen
from mitosieve.score.evaluation import EvaluateConfig, choose_threshold, evaluate
from mitosieve.score.outcome import Outcome
from mitosieve.score.printed import domain_notes
from mitosieve.score.table import SlideScore, false_alarms_per_mm2
from scene import a_bare_cohort, found, greedy_by_hand, places

FAST = EvaluateConfig(resamples=200)


def random_rows(seed, num_slides=4):
    draw = np.random.default_rng(seed)
    marks = [(int(s), int(x), int(y)) for s, x, y in draw.integers(0, (num_slides, 120, 120), (20, 3))]
    rows = [(*map(int, draw.integers(0, (num_slides, 120, 120))), draw.integers(0, 11) / 10) for _ in range(30)]
    return marks, rows


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_the_score_does_not_depend_on_the_order_of_slides(seed):
    """Cohort and detections turned round slide by slide give the same metrics, byte for byte."""
    marks, rows = random_rows(seed)
    by_slide = [sorted(range(4)), sorted(range(4), reverse=True)]
    texts = []
    for order in by_slide:
        cohort = a_bare_cohort(4, [m for s in order for m in marks if m[0] == s], cases=["a", "a", "b", "b"])
        cohort = type(cohort)(cohort.folder, tuple(cohort.slides[s] for s in order), cohort.annotations)
        result = evaluate(found([r for s in order for r in rows if r[0] == s]), cohort, config=FAST)
        texts.append(json.dumps(result.to_json(), sort_keys=True, allow_nan=False))
    assert texts[0] == texts[1]


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_counts_per_slide_are_those_of_the_official_rule(seed):
    """Each slide by itself, by the double loop, detections below the threshold left out."""
    marks, rows = random_rows(seed)
    result = evaluate(found(rows), a_bare_cohort(4, marks), config=FAST)
    for number, slide in enumerate(result.slides):
        figures = places([0 for m in marks if m[0] == number], [m[1:] for m in marks if m[0] == number])
        kept = [r for r in rows if r[0] == number and r[3] >= 0.5]
        taken = greedy_by_hand(figures, places([0 for _ in kept], [r[1:3] for r in kept]), [0.25], 7.5)
        tp = sum(hit >= 0 for hit in taken)
        assert (slide.tp, slide.fp, slide.fn) == (tp, len(kept) - tp, len(figures) - tp)
    score = result.pooled
    assert result.optimal.tp >= score.tp
    assert result.optimal.tp + result.optimal.fp == score.tp + score.fp
    assert result.lenient.tp >= result.optimal.tp


def test_a_slide_without_detections_misses_all_and_one_without_figures_is_all_false():
    """No slide leaves the denominator."""
    cohort = a_bare_cohort(3, [(0, 10, 10), (0, 90, 90), (1, 10, 10)])
    result = evaluate(found([(1, 10, 10, 0.9), (2, 5, 5, 0.9), (2, 50, 50, 0.9)]), cohort, config=FAST)
    assert [(s.tp, s.fp, s.fn) for s in result.slides] == [(0, 0, 2), (1, 0, 0), (0, 2, 0)]
    assert (result.precision, result.recall, result.f1) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    content = result.to_json()
    assert content["pooled"]["area_mm2"] == pytest.approx(3.0)
    assert content["pooled"]["false_alarms_per_mm2"] == pytest.approx(2 / 3)
    assert content["count_agreement"]["per_slide"]["mean_difference_per_mm2"] == pytest.approx((-2 + 0 + 2) / 3)


@pytest.mark.parametrize(
    ("figures", "rows"),
    [([], []), ([(0, 5, 5)], []), ([], [(0, 5, 5, 0.9)]), ([(0, 5, 5)], [(0, 5, 5, 0.1)])],
    ids=["nothing", "no detection", "no figure", "all below the threshold"],
)
@pytest.mark.parametrize("num_slides", [1, 3])
def test_degenerate_inputs_give_whole_json_without_nan(figures, rows, num_slides):
    """What is not defined is null, and nothing warns."""
    result = evaluate(found(rows) if rows else Detections.empty(), a_bare_cohort(num_slides, figures), config=FAST)
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert content["pooled"]["figures"] == len(figures)
    if not figures:
        assert content["ap"] is None
        assert content["froc"]["area"] is None
        assert any("no mitotic figure" in note for note in content["notes"])
    if num_slides == 1:
        assert content["pooled"]["f1_interval"] == [None, None]
        assert content["bootstrap"]["unit"] == "none"


def test_every_cell_has_its_outcome():
    """Found, false alarm, missed, and missed with the score of the detection below the threshold."""
    cohort = a_bare_cohort(1, [(0, 0, 0), (0, 200, 0), (0, 400, 0)], [(0, 600, 0)])
    rows = [(0, 4, 0, 0.9), (0, 8, 0, 0.7), (0, 604, 0, 0.8), (0, 203, 4, 0.3), (0, 999, 0, 0.2)]
    cells = evaluate(found(rows), cohort, config=FAST).outcomes
    table = list(
        zip(cells.center_l0[:, 0], cells.outcome, cells.score, cells.distance_um, cells.on_imposter, strict=True)
    )
    assert table[0] == (4, "found", 0.9, 1.0, False)
    assert [(row[0], row[1], row[2], row[4]) for row in table[1:3]] == [
        (8, "false alarm", 0.7, False),
        (604, "false alarm", 0.8, True),
    ]
    assert table[3] == (200, "missed", 0.3, 1.25, False)
    assert (table[4][0], table[4][1]) == (400, "missed")
    assert np.isnan(table[4][2])
    assert np.isnan(table[4][3])
    assert cells.of(Outcome.FALSE_ALARM).tolist() == [2, 1]
    assert evaluate(found(rows), cohort, config=FAST).to_json()["false_alarms_on_imposters"] == {
        "count": 1,
        "share": 0.5,
    }


def test_a_found_figure_does_not_claim_the_detection_below_the_threshold_of_a_missed_one():
    """The faint detection between two figures belongs to the one that has no other."""
    cohort = a_bare_cohort(1, [(0, 0, 0), (0, 40, 0)])
    cells = evaluate(found([(0, 1, 0, 0.9), (0, 20, 0, 0.4)]), cohort, config=FAST).outcomes
    assert cells.outcome.tolist() == ["found", "missed"]
    assert cells.score.tolist() == [0.9, 0.4]


def test_folds_have_rows_and_a_mean_beside_the_pooled_score():
    """The mean over folds is of the folds' scores, not of their counts."""
    cohort = a_bare_cohort(2, [(0, 0, 0), (0, 300, 0), (0, 600, 0), (1, 0, 0)])
    result = evaluate(found([(0, 0, 0, 0.9), (1, 0, 0, 0.9)]), cohort, config=FAST, folds={"A": ("c0",), "B": ("c1",)})
    content = result.to_json()
    assert [row["recall"] for row in content["per_fold"]] == [pytest.approx(1 / 3), 1.0]
    assert content["mean_over_folds"]["recall"] == pytest.approx(2 / 3)
    assert content["pooled"]["recall"] == 0.5
    assert "per_fold" not in evaluate(found([(0, 0, 0, 0.9)]), cohort, config=FAST).to_json()


def test_tables_split_the_same_counts_by_domain_and_case():
    """Their sums are the pooled counts."""
    marks, rows = random_rows(3)
    content = evaluate(found(rows), a_bare_cohort(4, marks, cases=["a", "a", "b", "b"]), config=FAST).to_json()
    for table in ("per_domain", "per_case", "per_slide"):
        for count in ("tp", "fp", "fn"):
            assert sum(row[count] for row in content[table]) == content["pooled"][count]
    assert [row["domain"] for row in content["per_domain"]] == ["d0", "d1"]
    assert [row["slides"] for row in content["per_case"]] == [2, 2]
    assert content["per_domain"][0]["interval_unit"] == "cases"
    low, high = content["per_domain"][0]["f1_interval"]
    assert low <= content["per_domain"][0]["f1"] <= high
    assert content["bootstrap"]["unit"] == "slides within cases"


def test_false_alarms_per_mm2_are_of_the_slides_whose_area_is_known():
    """A slide without an area gives neither area nor false alarms; none known is no number."""
    slides = [
        SlideScore(slide_id=f"s{fp}", case_id="c", domain="d", area_mm2=area, tp=1, fp=fp, fn=0)
        for area, fp in ((2.0, 4), (float("nan"), 100))
    ]
    assert false_alarms_per_mm2(slides) == 2.0
    assert np.isnan(false_alarms_per_mm2(slides[1:]))


def test_counts_agree_by_case_over_all_slides_of_a_case():
    """Two cases of two slides of 1 mm2: one has a detection more than its figure, the other two."""
    rows = [(0, 0, 0, 0.9), (1, 500, 0, 0.9), (2, 0, 0, 0.9), (2, 500, 0, 0.9), (3, 500, 0, 0.9)]
    cohort = a_bare_cohort(4, [(0, 0, 0), (2, 0, 0)], cases=["a", "a", "b", "b"])
    result = evaluate(found(rows), cohort, config=FAST)
    by_case = result.agreement(by_case=True)
    assert (by_case.n, result.agreement().n) == (2, 4)
    assert by_case.mean_difference == pytest.approx(((2 - 1) / 2 + (3 - 1) / 2) / 2)
    assert result.to_json()["count_agreement"]["per_case"] == by_case.to_json()


def test_the_radius_can_be_changed_and_is_in_um():
    """A detection 5 um away is found at 7.5 and not at 4 um."""
    cohort, rows = a_bare_cohort(1, [(0, 0, 0)], mpp=0.5), found([(0, 10, 0, 0.9)])
    assert evaluate(rows, cohort, config=FAST).f1 == 1.0
    narrow = evaluate(rows, cohort, config=replace(FAST, radius_um=4.0))
    assert narrow.f1 == 0.0
    assert narrow.to_json()["ap_boxes"] == 1.0  # boxes keep their own size


def test_the_threshold_is_chosen_from_scores_alone():
    """`is_figure` of the validation detections does not matter, and cases without figures are refused."""
    cohort = a_bare_cohort(2, [(0, 0, 0), (0, 300, 0)])
    rows = [(0, 0, 0, 0.9), (0, 300, 0, 0.7), (0, 900, 900, 0.3)]
    for threshold in (0.0, 0.95):
        choice = choose_threshold(found(rows, threshold=threshold), cohort, config=FAST)
        assert (choice.threshold, choice.f1) == (pytest.approx(0.5), 1.0)
    with pytest.raises(SplitError, match="no mitotic figure"):
        choose_threshold(Detections.empty(), cohort, cases=("c1",))


def written(folder, rows, cohort):
    write_detections(folder / "detections.csv", found(rows))
    return evaluate_folder(folder, cohort, config=FAST)


def test_a_folder_gets_its_metrics_and_its_cells(tmp_path):
    """metrics.json holds what `to_json` says, outcomes.csv a row per cell, and both are the same when made again."""
    cohort = a_cohort(tmp_path / "cohort", cases=3, figures=2)
    place = cohort.annotations.center_l0[0]
    detections = Detections.of(slide_id=["c0_s0", "c1_s0"], center_l0=[tuple(place), (5, 5)], score=[0.9, 0.4])
    write_detections(tmp_path / "run" / "detections.csv", detections)
    result = evaluate_folder(tmp_path / "run", cohort, config=FAST)
    first = (tmp_path / "run" / "metrics.json").read_bytes()
    assert json.loads(first) == result.to_json()
    with (tmp_path / "run" / "outcomes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["outcome"] for row in rows] == ["found", "false alarm"] + ["missed"] * 5
    assert (rows[0]["slide_id"], rows[0]["score"], rows[0]["on_imposter"]) == ("c0_s0", "0.9", "no")
    assert rows[2]["score"] == ""
    evaluate_folder(tmp_path / "run", cohort, config=FAST, out=tmp_path / "other.json")
    assert (tmp_path / "other.json").read_bytes() == first


def test_slides_that_a_job_did_not_see_are_named_with_their_scores(tmp_path):
    """Those that failed and those that it was not given, in every file; a folder without slides.csv is no job's. A
    comparison says whose they are, and a pooled score names those of its parts.
    """
    cohort = a_bare_cohort(12, [(k, 10, 10) for k in range(12)])
    rows = [(k, 10, 10, 0.9) for k in range(10)]
    assert written(tmp_path / "all", rows, cohort).unseen == ()
    names = [entry.slide_id for entry in cohort.slides]
    folder = tmp_path / "some"
    folder.mkdir()
    given_to_it = [f"{name},{'is broken' if name == names[10] else ''}\n" for name in names[:11]]
    (folder / "slides.csv").write_text("slide_id,error\n" + "".join(given_to_it))
    result = written(folder, rows, cohort)
    assert result.unseen == (names[10], names[11])
    note = f"2 scored slides were not looked at, their figures count as missed: {names[10]}, {names[11]}"
    assert note in result.notes
    assert json.loads((folder / "metrics.json").read_text())["unseen"] == [names[10], names[11]]
    for name in ("metrics.json", "metrics.csv", "metrics.tex"):
        assert note in (folder / name).read_text()
    assert f"some: {note}" in compare_folders([tmp_path / "all", folder], FAST).notes
    pooled = with_unseen(evaluate(found(rows[:1]), cohort, cases=("c0", "c1"), config=FAST), {"s1": "why", "s11": ""})
    assert pooled.unseen == ("s1",)
    assert pooled.notes[0] == "1 scored slide was not looked at, its figures count as missed: s1"


def test_scoring_a_cross_validation_again_names_the_slides_that_its_folds_did_not_see(tmp_path):
    """As it did itself: what lies in the folds counts, also where it has no slides.csv of its own; a fold whose table
    is gone may have seen any slide.
    """
    cohort = a_bare_cohort(12, [(k, 10, 10) for k in range(12)])
    rows, names = [(k, 10, 10, 0.9) for k in range(10)], [entry.slide_id for entry in cohort.slides]
    write_json(tmp_path / "detect.json", {"cohort": "x", "folds": ["A", "B"], "part": "test"})
    for fold, given_to_it in {"A": names[:6], "B": names[6:11]}.items():
        (tmp_path / fold / "test").mkdir(parents=True)
        lines = [f"{name},{'is broken' if name == names[10] else ''}\n" for name in given_to_it]
        (tmp_path / fold / "test" / "slides.csv").write_text("slide_id,error\n" + "".join(lines))
    assert written(tmp_path, rows, cohort).unseen == (names[10], names[11])
    (tmp_path / "A" / "test" / "slides.csv").unlink()
    assert written(tmp_path, rows, cohort).unseen == (names[10],)
    (tmp_path / "B" / "test" / "slides.csv").unlink()
    assert written(tmp_path, rows, cohort).unseen == ()


def test_each_part_s_interval_says_what_it_lacks():
    """A domain of few cases is noted as too narrow though there are enough in all; what holds for all is told once."""
    cohort = a_bare_cohort(24, [(k, 10, 10) for k in range(24)], cases=[f"c{k // 2}" for k in range(24)])
    slides = tuple(replace(entry, domain="few" if k < 4 else "many") for k, entry in enumerate(cohort.slides))
    content = evaluate(
        found([(0, 10, 10, 0.9)]), type(cohort)(cohort.folder, slides, cohort.annotations), config=FAST
    ).to_json()
    few, many = content["per_domain"]
    assert (few["interval_unit"], many["interval_unit"]) == ("slides within cases", "cases")
    assert "only 2 cases: slides were drawn within cases; the interval is too narrow" in few["interval_note"]
    assert (content["bootstrap"]["note"], many["interval_note"]) == ("", "")
    assert domain_notes(content) == [f"few: {few['interval_note']}"]


def test_folders_are_compared_by_their_written_counts(tmp_path):
    """metrics.json alone suffices; the differences are those of the scores; other slides are refused."""
    cohort = a_bare_cohort(12, [(k, 10, 10) for k in range(12)])
    one = written(tmp_path / "one", [(k, 10, 10, 0.9) for k in range(6)], cohort)
    two = written(tmp_path / "two", [(k, 10, 10, 0.9) for k in range(9)], cohort)
    result = compare_folders([tmp_path / "one", tmp_path / "two" / "metrics.json"], FAST)
    f1 = next(d for d in result.differences if d.figure == "f1")
    assert f1.value == pytest.approx(two.f1 - one.f1)
    assert f1.interval.low <= f1.value <= f1.interval.high
    assert result.intervals[0]["f1"] == one.interval
    json.dumps(result.to_json(), allow_nan=False)
    written(tmp_path / "three", [(0, 10, 10, 0.9)], a_bare_cohort(11, []))
    with pytest.raises(FrameError, match="different slides"):
        compare_folders([tmp_path / "one", tmp_path / "three"], FAST)


def test_a_folder_that_was_not_evaluated_is_named(tmp_path):
    """A missing, foreign or broken metrics.json is one clear message."""
    for content in (None, {"format": 99}, {"format": 1, "per_slide": [{}], "radius_um": 7.5}, []):
        if content is not None:
            write_json(tmp_path / "run" / "metrics.json", content)
        with pytest.raises(FormatError, match=r"metrics\.json") as error:
            compare_folders([tmp_path / "run", tmp_path / "run"])
        assert "mitosieve evaluate" in str(error.value)
    with pytest.raises(FormatError, match=r"detections\.csv"):
        evaluate_folder(tmp_path / "nowhere", a_bare_cohort(1, []))
