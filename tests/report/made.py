"""Small run folders for the tests of the report: a real cohort, true scores, and a record of a training."""

import base64
import io
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from build import a_cohort
from mitosieve.annotation import Label
from mitosieve.count.heatmap import CloseUp, write_heatmap
from mitosieve.count.picture import Thumbnail
from mitosieve.count.summary import SlideFailure, SlideFindings, summarize, write_summary, write_timing
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.run.folder import RunFolder, write_json
from mitosieve.run.layout import Kind
from mitosieve.score.evaluated import evaluate_folder
from mitosieve.score.evaluation import EvaluateConfig
from mitosieve.score.repeated import Repeats, compare_repeats
from mitosieve.score.scored import Scored
from mitosieve.study.page import render
from mitosieve.study.result import StudyResult
from mitosieve.study.study import load_study

ROUND = {
    "network": "screening",
    "scores": "in-sample",
    "threshold": 0.2,
    "TP": 1234,
    "FN": 66,
    "FP": 4321,
    "TN": 95679,
    "recall_positive": 0.949231,
    "recall_negative": 0.95679,
    "precision": 0.222142,
    "F1": 0.360029,
}


def some_detections(cohort):
    """Of each slide the first figure is found, the second seen below the threshold, the imposter a false alarm."""
    ids, centers, scores = [], [], []
    for number, entry in enumerate(cohort.slides):
        marks = cohort.annotations.of_slide(entry.slide_id)
        figures = marks.with_label(Label.MITOTIC_FIGURE).center_l0
        places = [(figures[0], 0.95 - 0.01 * number), (figures[1], 0.2 + 0.01 * number)]
        places.append((marks.with_label(Label.IMPOSTER).center_l0[0], 0.7 + 0.01 * number))
        for center, score in places:
            ids.append(entry.slide_id)
            centers.append(tuple(center))
            scores.append(score)
    return Detections.of(slide_id=ids, center_l0=centers, score=scores, threshold=0.5)


def a_study_page(folder, *, rows=("swift, no mining", "swift", "chsnet-small, no mining"), seeds=(1, 2)):
    """A page of a shipped study's first rows as if two equal seeds of a fold were done, with true scores."""
    folder.mkdir()
    cohort = a_cohort(folder / "cohort")
    newest = datetime(2026, 1, 2, tzinfo=UTC)
    found = some_detections(cohort)
    cases = tuple(sorted({entry.case_id for entry in cohort.slides}))
    methods = []
    for number, name in enumerate(rows):
        one = {seed: Scored.of(found.at_threshold(0.05 + 0.3 * number), cohort, cases) for seed in seeds}
        methods.append(Repeats(name=name, by_seed=one))
    study = load_study("three-methods")
    kept = study.model_copy(update={"rows": tuple(row for row in study.rows if row.name in rows), "seeds": seeds})
    compared = compare_repeats(methods, study.reference, np.random.default_rng(0), resamples=100)
    result = StudyResult(
        study=kept,
        folds=("A",),
        pooled=compared,
        by_fold={"A": compared},
        by_domain={},
        curves={method.name: tuple(method.by_seed.values()) for method in methods},
        costs={},
        windows={},
        missing=("swift: 1 of 3 trainings are not done (fold/seed A/3)",),
        newest=newest,
    )
    page = folder / "study.html"
    page.write_text(render(result, "mitosieve study three-methods COHORT --split SPLIT --out DIR"))
    return page


def a_score(folder, cohort, *, says_cohort=True):
    """An evaluated folder as detect and evaluate leave it."""
    RunFolder.create(folder, {"threshold": 0.5}, kind=Kind.DETECT, resume=False)
    write_detections(folder / "detections.csv", some_detections(cohort))
    place = str(cohort.folder) if says_cohort else None
    write_json(folder / "detect.json", {"cohort": place, "fold": "A", "part": "test", "threshold": 0.5})
    evaluate_folder(folder, cohort, config=EvaluateConfig(resamples=200))
    return folder


def a_run(folder, *, bare=False):
    """A run folder: with everything but a detector, or with run.json alone."""
    run = RunFolder.create(
        folder,
        {"recipe": {"seed": 5}, "fold": {"name": "A", "test": ["c0", "c1"]}, "cohort_hash": "abc123"},
        kind=Kind.TRAIN,
        resume=False,
    )
    if bare:
        return run.path
    (folder / "recipe.toml").write_text('seed = 5\n[network]\nkind = "chsnet"\n')
    write_json(folder / "patches.json", {"train": {"figure": 42, "background": 9000, "mined": 0}})
    write_json(folder / "mining.json", {"rounds": [ROUND]})
    write_json(folder / "machine.json", {"device": "cpu", "torch_threads": 2})
    write_json(folder / "timing.json", {"patches": 12.34, "screening network": 3723.0})
    rows = [{"step": 20 * k, "loss": 1 / k, "rate": 0.1, "score_figures": 0.5, "score_others": None} for k in (1, 2, 3)]
    rows.append({"step": 60, "validation_loss": 0.4, "validation_average_precision": 0.61})
    for stage in ("screening", "refined"):
        write_json(folder / "history" / f"{stage}.json", rows)
    return run.path


def a_scored_run(folder, *, cases=3):
    """A run and its cohort, scored in run/test."""
    cohort = a_cohort(folder / "cohort", cases=cases)
    run = a_run(folder / "run")
    a_score(run / "test", cohort)
    return run, cohort


def a_scan(folder, *, slides=3, failed=("broken",), timed=True, heatmaps=True, summary=True):
    """A folder as detect leaves it: slide k has 10 k figures in a spot, the last ones failed; nothing evaluated."""
    RunFolder.create(folder, {"threshold": 0.5}, kind=Kind.DETECT, resume=False)
    proposer = "nuclei, 1600 per mm2 of tissue"
    request = {"detector": "runs/swift", "cohort": None, "threshold": 0.5, "proposer": proposer}
    write_json(folder / "detect.json", request)
    counted, parts, rows = [], [], ["slide_id,mpp,figures,error"]
    for number in range(slides):
        name = f"s{number}"
        center = np.random.default_rng(number).normal(20_000, 600, (10 * number, 2))
        found = Detections.of(slide_id=[name] * len(center), center_l0=center, score=np.full(len(center), 0.9))
        findings = SlideFindings(
            slide_id=name,
            mpp_xy=(0.25, 0.25),
            size_l0=(48_000, 32_000),
            tissue_mm2=20.0,
            detections=found,
            proposer=proposer,
            threshold=0.5,
            seconds=8.0 if timed else None,
            engine="onnxruntime on cpu" if timed else "",
        )
        counted.append(summarize(findings))
        parts.append(found)
        rows.append(f"{name},0.25,{len(center)},")
        if heatmaps:
            thumbnail = Thumbnail(rgb=np.full((200, 300, 3), 240, np.uint8), mpp_xy=(40.0, 40.0))
            place = folder / "heatmaps" / f"{name}.png"
            close = [CloseUp(hotspot=spot, rgb=np.full((64, 64, 3), 200, np.uint8)) for spot in counted[-1].hotspots]
            write_heatmap(place, thumbnail, (center + 0.5) * 0.25, hotspots=close)
    failures = [SlideFailure(slide_id=name, error="is truncated") for name in failed]
    rows += [f"{failure.slide_id},,,{failure.error}" for failure in failures]
    write_detections(folder / "detections.csv", Detections.concatenate(parts))
    (folder / "slides.csv").write_text("\n".join(rows) + "\n")
    if summary:
        write_summary(folder / "summary.csv", [*counted, *failures])
        write_timing(folder / "timing.csv", counted)
    return folder


class Page(HTMLParser):
    """A page taken apart: tags with their attributes, and the text. Unbalanced tags are an error."""

    VOID = frozenset({"meta", "img", "br", "link", "hr", "input"})

    def __init__(self, path):
        super().__init__()
        self.html = path.read_text(encoding="utf-8")
        self.tags, self.words, self.open = [], [], []
        self.feed(self.html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        opened = self.open.pop()
        assert opened == tag, f"</{tag}> closes <{opened}>"

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())

    def pictures(self, outcome=None):
        """(slide, x, y, pixels) of the cells of one outcome, or of all, in their order."""
        found = []
        for tag, attrs in self.tags:
            alt = attrs.get("alt", "")
            if tag == "img" and alt.startswith("Cell on slide ") and (outcome is None or alt.endswith(f": {outcome}")):
                words = alt.replace(",", "").split()
                webp = base64.b64decode(attrs["src"].removeprefix("data:image/webp;base64,"))
                found.append(
                    (words[3], int(words[6]), int(words[8].rstrip(":")), np.asarray(Image.open(io.BytesIO(webp))))
                )
        return found
