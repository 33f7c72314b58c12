"""Laws of summary.csv, timing.csv and a slide's JSON."""

import csv
import json
import math
from dataclasses import replace

import numpy as np
import pytest

from mitosieve.count.ground import Ground
from mitosieve.count.summary import (
    DISCLAIMER,
    SUMMARY_COLUMNS,
    SlideFailure,
    SlideFindings,
    summarize,
    write_slide_summary,
    write_summary,
    write_timing,
)
from mitosieve.count.trust import Trust
from mitosieve.detection import Detections
from mitosieve.errors import FrameError


def some_findings(slide_id="s", *, centers=(), scores=None, **other):
    """A slide of 10 x 5 mm at 0.25 um per px."""
    scores = [0.9] * len(centers) if scores is None else scores
    found = Detections.of(slide_id=[slide_id] * len(centers), center_l0=list(centers), score=scores, threshold=0.5)
    values = {
        "mpp_xy": (0.25, 0.25),
        "size_l0": (40_000, 20_000),
        "tissue_mm2": 12.5,
        "glass_mm2": 37.5,
        "proposer": "grid, stride 14.4 um",
        "threshold": 0.5,
    }
    return SlideFindings(slide_id=slide_id, detections=found, **{**values, **other})


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


CLUSTER = [(20_000 + 100 * k, 9_000) for k in range(9)]


def test_only_figures_count(tmp_path):
    """Detections below the threshold are in no count; densities are per mm2 of tissue, and of the hotspot."""
    centers = [*CLUSTER, (100, 100), (30_000, 19_000)]
    scores = [0.9] * 9 + [0.9, 0.4]
    summary = summarize(some_findings(centers=centers, scores=scores), tissue="breast")
    assert (summary.figures, summary.hotspot.count) == (10, 9)
    row = read(write_summary(tmp_path / "summary.csv", [summary]))[0]
    assert tuple(row) == SUMMARY_COLUMNS
    expected = {
        "slide_id": "s",
        "mpp_x": "0.25",
        "width": "40000",
        "height": "20000",
        "tissue_mm2": "12.500000",
        "glass_mm2": "37.500000",
        "figures": "10",
        "figures_per_mm2": "0.8000",
        "hotspot_shape": "square",
        "hotspot_area_mm2": "2.0000",
        "hotspot_figures": "9",
        "hotspot_figures_per_mm2": "4.5000",
        "nottingham_mitotic_score": "2",
        "proposer": "grid, stride 14.4 um",
        "threshold": "0.5",
        "error": "",
    }
    assert {name: row[name] for name in expected} == expected
    side = 1000 * math.sqrt(2) / 0.25
    assert float(row["hotspot_width"]) == pytest.approx(side, abs=0.1)
    assert float(row["hotspot_x"]) == pytest.approx(20_400 - side / 2, abs=0.1)
    assert float(row["hotspot_y"]) == pytest.approx(9_000 - side / 2, abs=0.1)


def test_the_place_in_the_json_holds_the_figures(tmp_path):
    """The outline in level-0 px, its bounds, and the reason of the score."""
    summary = summarize(some_findings(centers=CLUSTER), shape="circle", area_mm2=2.37, tissue="breast")
    content = json.loads(write_slide_summary(tmp_path / "s.json", summary).read_text())
    hotspot, outline = content["hotspot"], np.array(content["hotspot"]["outline_l0"])
    assert (hotspot["figures"], hotspot["area_mm2"], hotspot["shape"]) == (9, 2.37, "circle")
    assert outline.shape == (72, 2)
    assert hotspot["bounds_l0"]["x"] == pytest.approx(outline[:, 0].min(), abs=0.2)
    middle = outline.mean(axis=0)
    radius = 1000 * math.sqrt(2.37 / math.pi) / 0.25
    assert (np.hypot(*(np.array(CLUSTER) - middle).T) <= radius).all()
    assert content["nottingham_mitotic_score"]["score"] == 2
    assert "0.55 mm" in content["nottingham_mitotic_score"]["reason"]
    assert content["note"] == DISCLAIMER
    assert not {"seconds", "engine"} & set(content)


@pytest.mark.parametrize("tissue", [None, 0.0, 30.0])
def test_a_slide_without_figures_has_its_row(tmp_path, tissue):
    """Counts are 0, the hotspot has no place; without tissue there is no density, no hotspot and no score."""
    summary = summarize(some_findings(tissue_mm2=tissue), tissue="breast")
    row = read(write_summary(tmp_path / "summary.csv", [summary]))[0]
    assert (row["figures"], row["hotspot_figures"], row["hotspot_x"], row["hotspot_width"]) == (
        "0",
        "" if tissue == 0 else "0",
        "",
        "",
    )
    assert row["figures_per_mm2"] == ("0.0000" if tissue else "")
    assert row["nottingham_mitotic_score"] == ("" if tissue == 0 else "1")
    content = json.loads(write_slide_summary(tmp_path / "s.json", summary).read_text())
    assert "outline_l0" not in content["hotspot"]
    assert content["tissue_mm2"] == tissue


@pytest.mark.parametrize(
    ("tissue_mm2", "size_l0"),
    [(1.5, (40_000, 20_000)), (2.0, (40_000, 20_000)), (0.1, (1000, 1600)), (None, (1000, 1600))],
)
def test_no_more_tissue_than_the_region_is_no_hotspot(tmp_path, tissue_mm2, size_l0):
    """It is said why, there are no numbers and no place, and the density is of the tissue; the slide is no hotspot."""
    findings = some_findings(centers=[(5, 5), (9, 9)], size_l0=size_l0, tissue_mm2=tissue_mm2)
    summary = summarize(findings, tissue="breast")
    assert (summary.hotspot.shape, summary.hotspot.count, summary.score.score) == ("none", 0, None)
    row = read(write_summary(tmp_path / "summary.csv", [summary]))[0]
    held = 0.1 if tissue_mm2 is None else tissue_mm2
    assert row["hotspot_note"].startswith(f"no hotspot: {held:.3g} mm2 of tissue are no more than a hotspot's 2 mm2")
    assert {row[name] for name in SUMMARY_COLUMNS if name.startswith("hotspot_") and name[8:] in PLACES} == {""}
    assert row["figures_per_mm2"] == ("" if tissue_mm2 is None else f"{2 / tissue_mm2:.4f}")
    told = json.loads(write_slide_summary(tmp_path / "s.json", summary).read_text())["hotspot"]
    assert (told["shape"], told["figures"], told["figures_per_mm2"], "outline_l0" in told) == (
        "none",
        None,
        None,
        False,
    )
    assert summarize(some_findings(centers=CLUSTER, tissue_mm2=2.01)).hotspot.count == 9


def a_strip(*, wide_mm, long_mm=6.0, figures=45, seed=0):
    """A core of tissue on a slide of 10 x 5 mm: figures evenly strewn over it, and where it lies."""
    mask = np.zeros((625, 1250), dtype=bool)
    mask[250 : 250 + round(wide_mm * 125), 125 : 125 + round(long_mm * 125)] = True
    at = np.random.default_rng(seed).uniform((4000, 8000), (4000 + 4000 * long_mm, 8000 + 4000 * wide_mm), (figures, 2))
    return some_findings(centers=at.tolist(), tissue_mm2=wide_mm * long_mm, ground=Ground.of(mask, 8.0))


@pytest.mark.parametrize("wide_mm", [0.4, 0.5, 0.8, 1.2, 2.4])
@pytest.mark.parametrize("shape", ["square", "rectangle", "circle"])
def test_the_hotspot_of_a_core_is_as_dense_as_the_core_at_least(wide_mm, shape):
    """Glass beside it was not searched: the density is per mm2 of the tissue in the region, in its row and its JSON."""
    for seed in range(5):
        summary = summarize(a_strip(wide_mm=wide_mm, seed=seed), shape=shape)
        spot, row, told = summary.hotspot, summary.row(), summary.to_json()["hotspot"]
        assert spot.tissue_mm2 <= min(spot.area_mm2, wide_mm * 6.0)
        assert spot.density_per_mm2 >= summary.density_per_mm2
        assert float(row["hotspot_tissue_mm2"]) == told["tissue_mm2"] == pytest.approx(spot.tissue_mm2, abs=1e-4)
        assert float(row["hotspot_figures_per_mm2"]) == pytest.approx(spot.count / spot.tissue_mm2, abs=1e-4)


def test_glass_in_the_hotspot_takes_a_score_only_where_it_matters():
    """Of 12 figures a mm2 on a core half a mm wide a count of 2 mm2 of tissue would have another score."""
    core = a_strip(wide_mm=0.5, figures=36)
    narrow = summarize(core, tissue="breast")
    assert 7 < narrow.hotspot.count < 15
    assert narrow.score.score is None
    assert f"its count of {narrow.hotspot.count} would be score 2" in narrow.score.reason
    assert narrow.row()["nottingham_mitotic_score"] == ""
    assert summarize(a_strip(wide_mm=0.5, figures=90), tissue="breast").score.score == 3
    wide = a_strip(wide_mm=2.4)
    assert summarize(wide, tissue="breast").score == summarize(replace(wide, ground=None), tissue="breast").score
    assert summarize(replace(core, ground=None), tissue="breast").score.score == 2


PLACES = ("figures", "figures_per_mm2", "x", "y", "width", "height")


@pytest.mark.parametrize(("tissue", "score"), [("breast", 2), ("", None), ("colon", None)])
def test_the_nottingham_score_is_of_breast_alone(tmp_path, tissue, score):
    """Whatever the count: where nobody says breast there is none, and the reason says so."""
    summary = summarize(some_findings(centers=CLUSTER), tissue=tissue)
    assert (summary.hotspot.count, summary.score.score) == (9, score)
    assert ("invasive breast carcinoma alone" in summary.score.reason) == (score is None)
    assert summarize(some_findings(centers=CLUSTER), area_mm2=0.5, tissue="breast").score.score is None


def test_further_hotspots_share_no_figure():
    """Each holds those that lie in none before it; all are told in the slide's JSON, the first alone in its row."""
    further = [(2_000 + 100 * k, 2_000) for k in range(4)]
    summary = summarize(some_findings(centers=[*CLUSTER, *further, (38_000, 18_000)]))
    assert [spot.count for spot in summary.hotspots] == [9, 4, 1]
    assert [spot["figures"] for spot in summary.to_json()["further_hotspots"]] == [4, 1]


def a_trust(**other):
    facts = {"detector": "d", "learnt_from": "phantoms", "is_synthetic": False, "f1": 0.7, "f1_interval": (0.6, 0.8)}
    facts |= {"tested_on": "9 figures", "mpp": 0.25, "threshold": 0.5, "own_threshold": 0.5}
    return Trust(**{**facts, **other})


@pytest.mark.parametrize(
    ("other", "mpp", "words"),
    [
        ({}, 0.25, ()),
        ({}, 0.28, ()),
        ({}, 0.5, ("slide coarser than the network",)),
        ({"is_synthetic": True}, 0.25, ("learnt from synthetic tissue",)),
        ({"is_synthetic": None}, 0.25, ()),
        ({"start_is_synthetic": True}, 0.25, ("began with what was learnt from synthetic tissue",)),
        ({"start_is_synthetic": None}, 0.25, ()),
        ({"is_synthetic": True, "start_is_synthetic": True}, 0.25, ("learnt from synthetic tissue",)),
        ({"threshold": 0.4}, 0.25, ("low threshold: 0.4, the detector's own is 0.5",)),
        ({"threshold": 0.6}, 0.25, ()),
        ({"threshold": 0.1, "own_threshold": 0.1}, 0.25, ("low threshold: 0.1",)),
        (
            {"is_synthetic": True, "threshold": 0.1},
            0.5,
            ("learnt from synthetic tissue", "low threshold", "slide coarser"),
        ),
    ],
)
def test_what_speaks_against_trusting_a_count_is_in_its_row(tmp_path, other, mpp, words):
    """Each once: the detector's in their column, the slide's in theirs, both in the JSON; and they read back."""
    trust = Trust.from_json(json.loads(json.dumps(a_trust(**other).to_json())))
    assert trust == a_trust(**other)
    summary = summarize(some_findings(centers=CLUSTER, mpp_xy=(mpp, mpp), trust=trust))
    every = (*trust.warnings, *summary.warnings)
    assert len(every) == len(words)
    for said, word in zip(every, words, strict=True):
        assert said.startswith(word)
    row = read(write_summary(tmp_path / "summary.csv", [summary]))[0]
    told = [part for part in (row["detector_warning"], row["warning"]) if part]
    assert "; ".join(told) == "; ".join(every)
    assert row["warning"].startswith("slide coarser") == (mpp == 0.5)
    assert (row["learnt_from"], row["test_f1"], row["test_f1_low"]) == ("phantoms", "0.7000", "0.6000")
    assert row["test_f1_on"] == trust.tested_on
    content = summary.to_json()
    assert [*content["trust"]["warnings"], *content["warnings"]] == list(every)


def test_a_resolution_far_off_and_coarser_than_the_network_is_said_once():
    """Where the resolution can hardly be right, that it is coarser as well is left out; else it is said."""
    of_trust = some_findings(mpp_xy=(0.5, 0.5), trust=a_trust())
    assert summarize(of_trust).warnings[0].startswith("slide coarser")
    far = replace(of_trust, resolution_warning="0.5 um/px differs 2.0 times: is it right?", notes=("a note",))
    assert summarize(far).warnings == ("0.5 um/px differs 2.0 times: is it right?",)
    assert summarize(far).row()["note"] == "a note"


def test_a_score_that_was_not_measured_is_no_number(tmp_path):
    """Empty fields, and words that say so."""
    trust = a_trust(f1=None, f1_interval=None, learnt_from="")
    row = read(write_summary(tmp_path / "s.csv", [summarize(some_findings(trust=trust))]))[0]
    assert (row["test_f1"], row["test_f1_low"], row["test_f1_high"]) == ("", "", "")
    assert trust.line == "d: learnt from unknown slides; test F1 not measured"


def test_oblong_pixels_keep_the_area():
    """mpp of 0.25 and 0.5: the box is twice as wide as high in px."""
    summary = summarize(some_findings(centers=CLUSTER, mpp_xy=(0.25, 0.5)))
    _, _, width, height = summary.hotspot.bounds_l0((0.25, 0.5))
    assert width == pytest.approx(2 * height)
    assert width * 0.25 * height * 0.5 == pytest.approx(2e6, rel=1e-5)


def test_a_slide_that_failed_keeps_its_row(tmp_path):
    """In the order given, with its error on one line and all else empty."""
    slides = [
        SlideFailure(slide_id='bad, "b"', error="is truncated\nremedy: scan again"),
        summarize(some_findings("b")),
    ]
    first, second = read(write_summary(tmp_path / "summary.csv", slides))
    assert (first["slide_id"], first["error"]) == ('bad, "b"', "is truncated remedy: scan again")
    assert {value for name, value in first.items() if name not in ("slide_id", "error")} == {""}
    assert second["slide_id"] == "b"
    assert read(write_summary(tmp_path / "none.csv", [])) == []


def test_time_and_engine_are_in_no_file_that_promises_equal_bytes(tmp_path):
    """Two runs that differ in them leave the same summary; timing.csv has them."""
    slow, fast = (
        summarize(some_findings(centers=CLUSTER, seconds=seconds, engine=engine))
        for seconds, engine in ((50.0, "torch, cpu"), (5.0, "onnxruntime, cpu"))
    )
    for write in (lambda path, slide: write_summary(path, [slide]), write_slide_summary):
        assert write(tmp_path / "a", slow).read_bytes() == write(tmp_path / "b", fast).read_bytes()
    unknown = summarize(some_findings(tissue_mm2=None, seconds=None))
    assert [tuple(row.values()) for row in read(write_timing(tmp_path / "timing.csv", [slow, fast, unknown]))] == [
        ("s", "50.000", "0.2500", "torch, cpu"),
        ("s", "5.000", "2.5000", "onnxruntime, cpu"),
        ("s", "", "", ""),
    ]


def test_a_summary_holds_no_detections():
    """A job keeps the summaries of all its slides, so they must be small."""
    summary = summarize(some_findings(centers=CLUSTER))
    assert (summary.figures, len(summary.findings.detections)) == (9, 0)


def test_rows_of_another_slide_are_refused():
    """A count of them would be of nothing."""
    other = Detections.of(slide_id=["t"], center_l0=[(1, 1)], score=[0.9])
    with pytest.raises(FrameError, match="of the slide 't', not of 's'"):
        SlideFindings(**{**vars(some_findings("s")), "detections": other})
