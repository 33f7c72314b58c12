"""Names of the files and folders that jobs leave: each is written here once, and nowhere else.

A training (`kind` train), a cross-validation (a folder a fold, pooled scores above them), a job of detection (`kind`
detect) and an audit each have their own; what is shared stands first. Whoever writes a record also reads it, beside
one another; this file knows names alone.
"""

import hashlib
import os
from enum import StrEnum
from pathlib import PurePosixPath


class Kind(StrEnum):
    """What a folder is of, as its run.json says."""

    TRAIN = "train"
    DETECT = "detect"
    CROSSVAL = "crossval"
    STUDY = "study"


# any run
RUN = "run.json"
VERSIONS = "versions.json"
MACHINE = "machine.json"
TIMING = "timing.json"
"""Wall times of the parts of a job; never compared."""
LOG = "log.txt"
"""What was done when, for people; never compared."""
LOCK = ".lock"
REPORT = "report.html"
REPORT_ASIDE = ".report.html.before"
"""Where a page is while the tables that it shows are written again; it stays there where that was interrupted."""

# a training
RECIPE = "recipe.toml"
SPLIT = "split.json"
FRAMES = "frames"
"""Rendered slides; gone when the training is done."""
IMAGES = "images.json"
"""Size and sha256 of every image of train and validation: a resume knows them again."""
PATCHES = "patches.json"
"""How many places of each kind were found, by part of the fold."""
NETWORKS = "networks"
HISTORY = "history"
HISTORY_TABLE = "history.csv"
"""Curves of all networks while they are trained; rows of networks that are trained side by side are mixed."""
CHECKPOINT = "checkpoint"
DETECTOR = "detector"
VALIDATION = "validation"
TEST = "test"

# names of networks that a cascade has
SCREENING = "screening"
REFINED = "refined"

# and of the only network of a trial
NETWORK = "network"

# a detector
DETECTOR_CONFIG = "detector.toml"
CARD = "CARD.md"
CARD_DATA = "card.toml"
"""What a shipped detector's CARD.md is made of."""
HASHES = "files.sha256"
"""Of all files of a shipped detector."""
LEARNED = "learned.json"
"""Cases that the networks have learned from, where that does not stand in the run alone: also of a run with a start."""
REFERENCE = "reference.json"
"""What the slides of the training are like."""

# what methods add to a training
MINING = "mining.json"
BUDGET = "budget.json"
"""What the budget of a cascade's second stage lets through on validation, and what it loses."""
PATCH_TABLE = "patch-table.csv"
"""How the networks of a cascade sort training and test patches: the command `patch-table` makes it."""
MINING_SCORES = "mining-scores.parquet"
REGIMES = "regimes.json"
TRIAL_RESULT = "result.json"
LABELS = "labels.parquet"
NEGATIVES = "negatives.json"
MEMORY = "memory.parquet"
MEMORY_HISTORY = "memory-history.npz"
VERDICTS = "verdicts.parquet"
VERDICTS_SUMMARY = "verdicts.json"
OUT_OF_FOLD = "out-of-fold.parquet"
OUT_OF_FOLD_SLIDES = "out-of-fold"
"""Detections on the training slides by networks that have not seen their patient, scored."""
SCORE_COUNTS = "score-counts.npz"
"""How the first stage scored the places of each of those slides."""
GATE = "gate.json"
"""What the gate keeps of places that its networks have not seen, and the operating points."""
EMBEDDING = "embedding.npz"
FIRST = "first"
"""Networks that score a pool first."""
TRIALS = "trials"
CONTROLS = "controls"
ENSEMBLE = "ensemble"
"""Members of an ensemble, a folder each."""

# a job of detection, and what is made of it
REQUEST = "detect.json"
"""What detect was asked: detector, cohort, fold, part, threshold."""
DETECTIONS = "detections.csv"
DETECTION_COLUMNS = ("slide_id", "x", "y", "score")
"""Of detections.csv, whoever made it; further ones may follow."""
SLIDES = "slides.csv"
"""What became of each slide that detect was given."""
SUMMARY = "summary.csv"
SLIDE_TIMES = "timing.csv"
PARTS = "parts"
"""A slide's detections and facts, as soon as they are whole; while it is being done, its finished bands."""
SHARDS = "shards"
"""Tables of a part of the slides."""
SLIDE_SUMMARIES = "summaries"
"""Counts of a slide, `ID.json`."""
HEATMAPS = "heatmaps"
"""Pictures, `ID.png`."""
METRICS = "metrics.json"
OUTCOMES = "outcomes.csv"
DECISIONS = "decisions.jsonl"
"""What people decided about the detections; `review.log` adds lines, nobody rewrites them."""

# a study
STUDY = "study.toml"
STUDY_CSV = "study.csv"
STUDY_TABLE = "study.md"
STUDY_PAGE = "study.html"
RUNS = "runs"
"""Run folders of its trainings, unless they are kept elsewhere."""
TRAININGS = "trainings"
"""Of each training what the tables are made of, a folder each."""
RECORD = "training.json"

# what reviews lead to
REVIEWED_SUMMARY = "reviewed-summary.csv"
REVIEWED_CELLS = "reviewed-cells.csv"
"""A row a judged cell."""
AGREEMENT = "agreement.json"
ADAPTED = "adapted.json"
"""Of a detector whose threshold was refitted: from what, and how sure."""

# an audit
AUDIT = "audit.csv"
AUDIT_PAGE = "index.html"
AUDIT_POINTS = "qupath"
AUDIT_FACTS = "audit.json"
"""Where an audit's slides are, and their resolution."""
AUDIT_SHOWN = "suspects.json"
"""What its page shows."""


def places_of(part: str) -> str:
    """Places of a part of the fold, "train" or "validation"."""
    return f"places/{part}.parquet"


def weights_of(lesson: str) -> str:
    """Weights of a trained network; `lesson` may hold folders."""
    return f"{NETWORKS}/{lesson}.safetensors"


def history_of(lesson: str) -> str:
    """Rows of a training's curves."""
    return f"{HISTORY}/{lesson}.json"


def start_scores_of(lesson: str) -> str:
    """What the network that a lesson goes on from says of the training places."""
    return f"start/{lesson}.parquet"


def checkpoint_of(lesson: str) -> str:
    """Where a training that was killed goes on."""
    return f"{CHECKPOINT}/{lesson}.safetensors"


def scores_of_round(number: int) -> str:
    """Scores of the pool by networks that have not trained on it, in a round of a search."""
    return f"scores-round-{number}.parquet"


def hits_of(lesson: str) -> str:
    """How often a network of levels was right about each label."""
    return f"hits {lesson}.npz"


def validation_of(detector: str) -> str:
    """Detections on the validation cases that a detector's thresholds were chosen on, by the detector's folder."""
    return str(PurePosixPath(detector.replace(DETECTOR, VALIDATION, 1)) / DETECTIONS)


LONGEST_NAME = 200
"""Bytes of a slide's name that files are called by; disks take 255, and endings and marks are added."""


def as_text(name: str) -> str:
    """A file's name as text that every table can hold and gives back: bytes that are no UTF-8 and control characters as
    %XX, without the blanks around it, which tables do not keep; of a name of blanks alone they too are %XX.
    """
    name = name.strip(" ") or "%20" * len(name)
    parts = (sign if sign.isprintable() else "".join(f"%{byte:02X}" for byte in os.fsencode(sign)) for sign in name)
    return "".join(parts)


def slide_pages_of(page: str) -> str:
    """Folder beside a job's page that holds those of its slides, where there are many."""
    return f"{PurePosixPath(page).stem}-slides"


def file_of(slide_id: str, ending: str) -> str:
    """What a file of a slide is called: by the slide's name, of a very long one by its beginning and its digest."""
    content = slide_id.encode(errors="surrogatepass")
    if len(content) <= LONGEST_NAME:
        return slide_id + ending
    digest = hashlib.sha256(content).hexdigest()[:12]
    return f"{content[: LONGEST_NAME - 13].decode(errors='ignore')}-{digest}{ending}"
