"""Laws of the report's part on the search of mining regimes, on made searches of round numbers."""

import json
import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from made import Page, a_run
from PIL import Image

from mitosieve.errors import FormatError
from mitosieve.method.finegrained.regime import Regime, RegimeGrid, Trial, best_regime, scored
from mitosieve.report import write_report
from mitosieve.report.chart import chart_style, to_svg
from mitosieve.report.regimes import draw_searches, percent, read_search, view_search
from mitosieve.report.source import read_run
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.layout import Kind

SCRIPT = Path(__file__).parents[2] / "docs" / "make_regime_picture.py"
PARTITION = {"figures": 400, "imposters": 600, "labelled": 6000, "unlabelled": 3000}
NO_CAP = {"dropped": 0, "of": 0, "hidden_figures": None, "hidden_figures_dropped": None}


def some_trials(regimes, partition, seeds=(1, 2, 3), lift=0.0):
    """F1 highest near a fifth, 0.01 apart between seeds; patches by share."""
    found = []
    for regime in regimes:
        patches = partition["figures"] + partition["imposters"] * (regime.imposter_weight > 0)
        patches += round(regime.labelled * partition["labelled"] + regime.unlabelled * partition["unlabelled"])
        used = patches / sum(partition.values())
        peak = 0.7 - 0.1 * np.log10(used / 0.2) ** 2 - 0.02 * (regime.imposter_weight - 1) + lift
        found += [
            Trial(
                regime=regime,
                seed=seed,
                patches=patches,
                used_fraction=used,
                f1=float(peak + 0.01 * (seed - 2)),
                threshold=0.5,
                average_precision=0.6,
            )
            for seed in seeds
        ]
    return found


def a_round(trials, parts=3):
    return {
        "scores": f"out of fold, {parts} parts",
        "trials": [trial.to_json() for trial in trials],
        "regimes": [score.to_json() for score in scored(trials)],
    }


def a_search(grid=None, partition=None, *, controls=True, seeds=(1, 2, 3), notes=("only one seed agrees",), lift=0.0):
    """Content of regimes.json."""
    grid, partition = grid or RegimeGrid(rounds=2), partition or PARTITION
    unlabelled = partition["unlabelled"] > 0
    rounds = [some_trials(grid.regimes(unlabelled=unlabelled, imposters=True), partition, seeds, lift)]
    if grid.rounds == 2:
        rounds.append(some_trials(grid.around(best_regime(scored(rounds[0])).regime), partition, seeds, lift + 0.01))
    chosen = best_regime(scored(rounds[-1]))
    of_random = some_trials([chosen.regime.model_copy(update={"choice": "random"})], partition, seeds, lift - 0.06)
    of_all = some_trials([Regime(unlabelled=chosen.regime.unlabelled)], partition, seeds, lift - 0.02)
    made = (("random", "as many negatives at random", of_random), ("no_mining", "", of_all))
    cap = {"dropped": 30, "of": 3000, "hidden_figures": 50, "hidden_figures_dropped": 20}
    return {
        "format": 1,
        "partition": partition,
        "rounds": [a_round(trials) for trials in rounds],
        "chosen": chosen.to_json(),
        "controls": [
            {
                "name": name,
                "about": about,
                "trials": [trial.to_json() for trial in trials],
                "score": scored(trials)[0].to_json(),
            }
            for name, about, trials in (made if controls else ())
        ],
        "cap": cap if unlabelled else NO_CAP,
        "notes": list(notes),
    }


SMALL = RegimeGrid(labelled=(1.0, 0.5, 0.1))
ALONE = {**PARTITION, "unlabelled": 0}
KINDS = {
    "two rounds": a_search(),
    "no unlabelled slides": a_search(SMALL, ALONE),
    "one regime": a_search(RegimeGrid(labelled=(0.2,)), controls=False, seeds=(1,), notes=()),
    "many axes": a_search(
        RegimeGrid(labelled=(1.0, 0.3, 0.1), unlabelled=(0.5, 0.0), caps=(0.5, 0.9), imposter_weights=(0, 1, 3))
    ),
}


def a_searched_run(folder, content):
    run = a_run(folder / "run")
    (run / "mining.json").unlink()
    write_json(run / "regimes.json", content)
    return run


@pytest.fixture(params=KINDS)
def content(request):
    return KINDS[request.param]


def cells_of(text, search):
    """The words of every row of a table of regimes."""
    unlabelled = search["partition"]["unlabelled"] > 0
    scores = [score for part in search["rounds"] for score in part["regimes"]]
    for score in scores + [control["score"] for control in search["controls"]]:
        regime = score["regime"]
        has_cap = regime["cap"] < 1 and regime["unlabelled"] > 0 and regime["choice"] == "hardest"
        of_unlabelled = [percent(regime["unlabelled"]), f"{regime['cap']}" if has_cap else "none"]
        yield " ".join(
            [
                percent(regime["labelled"]),
                *(of_unlabelled if unlabelled else []),
                f"{regime['imposter_weight']} {score['patches']:,} {percent(score['used_fraction'])}",
                f"{score['mean']:.3f} {score['low']:.3f} {score['high']:.3f}",
            ]
        )


def test_every_regime_and_control_has_its_row(tmp_path, content):
    """Shares, cap, weight, patches, used fraction, mean, lowest and highest; the chosen one is marked once."""
    page = Page(write_report(a_searched_run(tmp_path, content)))
    for words in cells_of(page.text, content):
        assert words in page.text, words
    for control in content["controls"]:
        assert f"{control['name']} {'lot' if control['name'] == 'random' else 'score'}" in page.text
    assert [dict(attrs).get("class") for tag, attrs in page.tags if tag == "tr"].count("chosen") == 1
    chosen = len(content["rounds"])
    assert f"{chosen} chosen {percent(content['chosen']['regime']['labelled'])}" in page.text


def test_the_page_says_what_the_numbers_are(tmp_path):
    """A criterion and no result; the paper's fraction beside ours; the partition, the cap, the notes."""
    text = Page(write_report(a_searched_run(tmp_path, KINDS["two rounds"]))).text
    chosen = KINDS["two rounds"]["chosen"]
    for words in (
        "These F1 are no result.",
        "on the validation cases",
        f"uses {percent(chosen['used_fraction'])} of the training patches: {chosen['patches']:,} of 10,000",
        "used 19.6 % of theirs",
        "our reading of its denominator",
        "figures 400 imposters 600 candidates of labelled slides 6,000",
        "candidates of unlabelled slides 3,000 all 10,000",
        "cap of 0.5 dropped 30 of the 3,000 unlabelled candidates. Of these candidates",
        "candidates 50 are known to be figures; the cap dropped 20 of them.",
        "random: As many negatives at random.",
        "Round 1: 33 networks, candidates scored out of fold, 3 parts.",
        "Note: Only one seed agrees.",
        "no confidence interval",
    ):
        assert words in text, words
    assert "What hard example mining kept" not in text


def test_without_unlabelled_slides_nothing_is_said_of_them(tmp_path):
    """No column, no cap."""
    text = Page(write_report(a_searched_run(tmp_path, KINDS["no unlabelled slides"]))).text
    assert "Unlabelled" not in text
    assert "'s cap" not in text
    assert "candidates of unlabelled slides 0" in text


def test_a_search_without_controls_or_notes_shows_none(tmp_path):
    """Nor is a hidden figure spoken of where none is known."""
    content = {**KINDS["one regime"], "cap": {"dropped": 7, "of": 3000}}
    text = Page(write_report(a_searched_run(tmp_path, content))).text
    assert "dropped 7 of the 3,000" in text
    for words in ("Controls", "Note:", "known to be figures"):
        assert words not in text


def test_a_run_without_a_search_has_no_such_section(tmp_path):
    """The page is that of the other methods."""
    text = Page(write_report(a_run(tmp_path / "run"))).text
    assert "Search for the negatives" not in text
    assert "What hard example mining kept" in text


def test_the_curves_are_those_of_the_ensemble(tmp_path):
    """Its members are trained in folders of their own; the page shows how each of them learned."""
    run = RunFolder.create(tmp_path / "run", {"recipe": {}}, kind=Kind.TRAIN, resume=False).path
    rows = [{"step": 20 * k, "loss": 1 / k, "rate": 0.1, "score_figures": 0.5, "score_others": 0.1} for k in (1, 2, 3)]
    for member in ("member-1", "member-2"):
        write_json(run / "ensemble" / member / "history" / "network.json", rows)
    assert read_run(run).history == {"member-1": rows, "member-2": rows}


def drawn(search):
    with chart_style():
        return draw_searches({"": search})


def test_the_curve_is_that_of_the_file(tmp_path):
    """Means of round 1 by used fraction, the band from lowest to highest, a dot a trial, the chosen ring."""
    content = KINDS["two rounds"]
    axes = drawn(read_search(a_searched_run(tmp_path, content))).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    first = sorted(content["rounds"][0]["regimes"], key=lambda score: score["used_fraction"])
    means = lines["mean of the seeds"]
    assert means.get_xdata().tolist() == [score["used_fraction"] for score in first]
    assert means.get_ydata().tolist() == [score["mean"] for score in first]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} == {
        (score["used_fraction"], score[end]) for score in first for end in ("low", "high")
    }
    dots = sum(len(line.get_xdata()) for line in axes.lines if line.get_markersize() == 3)
    assert dots == sum(len(part["trials"]) for part in content["rounds"] + content["controls"])
    ring = lines["chosen regime"]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (content["chosen"]["used_fraction"], content["chosen"]["mean"])
    assert axes.get_xscale() == "log"


def test_every_mark_lies_on_the_chart_and_has_a_tick_near(tmp_path, content):
    """Axes hold all seeds and the paper's fraction, with at least two ticks of used fraction."""
    search = read_search(a_searched_run(tmp_path, content))
    axes = drawn(search).axes[0]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for score in search.scores:
        assert left < score.used_fraction < right
        assert bottom < score.low <= score.high < top
    assert left < 0.196 < right
    assert len([tick for tick in axes.get_xticks() if left <= tick <= right]) >= 2


def test_controls_and_rounds_are_told_apart(tmp_path):
    """Each in the legend under its name with a mark of its own."""
    figure = drawn(read_search(a_searched_run(tmp_path, KINDS["two rounds"])))
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"second round", "control: random", "control: no_mining", "chosen regime"} <= set(labels)
    assert len(labels) == len(set(labels))
    marks = {line.get_marker() for line in figure.axes[0].lines if line.get_markersize() == 5}
    assert marks >= {"D", "s", "^"}


def test_the_chart_is_svg_with_words_and_the_same_each_time(tmp_path, content):
    """Well formed; the words tell the chosen regime; no setting of matplotlib is left behind."""
    before = dict(mpl.rcParams)
    search = read_search(a_searched_run(tmp_path, content))
    chart = view_search(search).chart
    assert ET.fromstring(chart.svg).tag.endswith("svg")
    assert f"mean F1 of {search.chosen.mean:.3f}" in chart.alt
    assert all(control.name in chart.alt for control in search.controls)
    assert view_search(search).chart == chart
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "is no record of a search"),
        ({"format": 2}, "format"),
        ({"rounds": []}, "rounds"),
        ({"partition": {"figures": 1}}, "partition.imposters"),
        ({"chosen": {}}, "chosen"),
        ({"cap": {"dropped": -1, "of": 3}}, "cap.dropped"),
        ({"controls": [{"name": "random"}]}, "controls.0.trials"),
        ({"chosen": {**KINDS["two rounds"]["chosen"], "used_fraction": 0}}, "used_fraction"),
        ({"chosen": {**KINDS["two rounds"]["chosen"], "mean": float("nan")}}, "F1"),
        ({"chosen": {**KINDS["two rounds"]["chosen"], "regime": {"labelled": 2}}}, "chosen.regime.labelled"),
    ],
)
def test_a_damaged_file_is_named_with_the_key_that_is_wrong(tmp_path, change, words):
    """And no page is written."""
    run = a_searched_run(tmp_path, KINDS["two rounds"])
    text = change if isinstance(change, str) else json.dumps({**KINDS["two rounds"], **change})
    (run / "regimes.json").write_text(text)
    with pytest.raises(FormatError, match=words) as fault:
        write_report(run)
    assert "regimes.json" in str(fault.value)
    assert not (run / "report.html").exists()


def test_several_searches_share_one_scale_and_one_legend(tmp_path):
    """A panel a fold, named, with its chosen regime told; equal controls have equal marks."""
    contents = {name: a_search(lift=0.05 * k) for k, name in enumerate("ABC")}
    searches = {name: read_search(a_searched_run(tmp_path / name, told)) for name, told in contents.items()}
    with chart_style():
        figure = draw_searches(searches)
        assert to_svg(figure)
    assert [axes.get_title()[:2] for axes in figure.axes] == ["A:", "B:", "C:"]
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert len(figure.legends) == 1


def test_the_picture_for_the_documents_is_drawn_from_runs(tmp_path, monkeypatch):
    """One PNG of all runs; a run without a search is refused by its name."""
    runs = [str(a_searched_run(tmp_path / name, KINDS["two rounds"])) for name in "AB"]
    out = tmp_path / "images" / "curve.png"
    monkeypatch.setattr(sys, "argv", ["make_regime_picture.py", *runs, "--out", str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width > 1.2 * picture.height
    bare = str(a_run(tmp_path / "bare", bare=True))
    monkeypatch.setattr(sys, "argv", ["make_regime_picture.py", bare, "--out", str(out)])
    with pytest.raises(SystemExit):
        runpy.run_path(str(SCRIPT), run_name="__main__")
