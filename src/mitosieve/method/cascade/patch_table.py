"""How CHS-NET's networks sort patches: the rows of the paper's table 2, on training patches, and table 3, on test ones.

A patch is a figure (in training in its fixed variants, where the recipe has them; in test once) or a window of the
stride grid with an IoA below the recipe's to every figure (section 3.4.1); what is neither is not counted. The paper's
figures of table 3 are counted after suppression: those are detections, and stand in a row of their own.
"""

import csv
import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import PARTS, Split
from mitosieve.errors import CohortError, RunFolderError, SplitError
from mitosieve.method.cascade.chsnet import ChsNet, ChsNetRecipe, frames_in, window_rule
from mitosieve.method.cascade.mining import kept_table
from mitosieve.network.compute import Compute
from mitosieve.network.registry import load_weights
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, write_atomic
from mitosieve.run.progress import Progress
from mitosieve.score.judged import read_metrics
from mitosieve.score.own_files import check_table
from mitosieve.sieve.detector import Detector
from mitosieve.train import PatchPool, Places

COLUMNS = (
    *("fold", "part", "counted", "network", "gate", "operating"),
    *("TP", "FN", "FP", "TN", "recall_positive", "recall_negative", "precision", "F1"),
)
"""Of a row. `counted`: "patches", or "detections" after suppression. `network`: "screening", "refined", or "cascade",
which must both agree. `gate` and `operating`: what a score of the screening and of the refined network must exceed; ""
for a network that was not asked. Shares are 0..1."""


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A run's networks and thresholds.

    Attributes:
        recipe: of the run.
        detector: gives the stain's target and the thresholds.
        networks: by name, in the order of a slide's way; the screening network alone where no other was trained.
    """

    recipe: ChsNetRecipe
    detector: Detector
    networks: dict[str, nn.Module]

    @property
    def gate(self) -> float | None:
        """Of the screening network in the detector; None where it has no part in it."""
        return self._threshold(layout.SCREENING)

    @property
    def operating(self) -> float | None:
        """Of the refined network in the detector; None where it has no part in it."""
        return self._threshold(layout.REFINED)

    def _threshold(self, name: str) -> float | None:
        return next((stage.threshold for stage in self.detector.config.stages if stage.name == name), None)


def patch_table(  # noqa: PLR0913 - one question to one run
    run: Path,
    cohort: Cohort,
    split: Split,
    fold: str,
    *,
    parts: Sequence[str] = ("train", "test"),
    compute: Compute,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Rows of the paper's tables 2 and 3 for one trained fold.

    For each part: the screening network at the mining threshold (table 2) and at the gate, the refined network at the
    operating threshold, and both. For the test part also, where the run's `test` was evaluated, the detections after
    suppression (table 3): found and missed figures by the official rule, which the paper leaves open; their TN are the
    negative windows less the false detections (at least 0): so read, four of the paper's five folds have the recall of
    negatives that is printed.

    Slides are rendered one by one into a temporary folder; the run is not changed.

    Args:
        run: folder of a finished training by a recipe of method chsnet.
        cohort: that it was trained on.
        split: that it was trained on.
        fold: of the split.
        parts: of the fold; only in "train" do figures come in variants.
        compute: machine.
        progress: told after every slide.

    Returns:
        Rows with the keys `COLUMNS`, part by part.

    Raises:
        RunFolderError: no finished training, or one of another method.
        CohortError: the cohort is in another state than it was trained on.
        SplitError: the fold is another than it was trained on, no part is named, or one is unknown or empty; or `test`
            was evaluated on other cases.
    """
    if not parts:
        raise SplitError("no part of the fold is named", where=run, remedy=f"name one or more of {', '.join(PARTS)}")
    trained = _load(run, cohort, split, fold)
    rows: list[dict[str, Any]] = []
    cases_of = {part: split.fold(fold).part(part) for part in parts}
    for part, cases in cases_of.items():
        if not cases:
            raise SplitError(f"fold {fold} has no {part} case", where=run, remedy="name another part")
        is_figure, score = _scored(trained, cohort, part, cases, compute, progress)
        found = [{"counted": "patches", **row} for row in _sorted(trained, is_figure, score)]
        if part == "test" and (run / layout.TEST / layout.METRICS).exists():
            found.append({"counted": "detections", **_detected(trained, run, cases, int((~is_figure).sum()))})
        rows += [{"fold": fold, "part": part, **row} for row in found]
    return [{name: row[name] for name in COLUMNS} for row in rows]


def write_patch_table(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows of `patch_table`, of one run or of several, as CSV; shares to six digits.

    Raises:
        InputError: as `check_patch_table`.
        StorageError: the file cannot be written.
    """
    check_patch_table(path)
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(
        {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return write_atomic(path, text.getvalue())


def check_patch_table(path: Path) -> None:
    """Refuse a place for the table where a file would be lost that is none: known before anything is computed.

    Raises:
        InputError: as `check_table`.
    """
    check_table(path, "patch-table", own=layout.PATCH_TABLE, columns=COLUMNS)


def _load(run: Path, cohort: Cohort, split: Split, fold: str) -> _Trained:
    """The run's networks, if it was trained on this fold of this cohort."""
    provenance = RunFolder(run).check_kind(layout.Kind.TRAIN).provenance
    method = provenance.get("recipe", {}).get("method")
    if method != "chsnet":
        raise RunFolderError(
            f"was trained by method {method}, and the tables are of CHS-NET's windows",
            where=run,
            remedy="name a run of recipe chsnet, chsnet-small or chsnet-paper",
        )
    if provenance.get("cohort_hash") != cohort.hash():
        raise CohortError(
            f"is in another state than {run.name} was trained on, or another cohort",
            where=cohort.folder,
            remedy="name the cohort that it was trained on",
        )
    stated = {"name": fold, **split.fold(fold).parts} if fold in split.folds else None
    if provenance.get("fold") != stated:
        raise SplitError(
            f"was not trained on this fold {fold}: its test cases may be learned from",
            where=run,
            remedy=f"name the fold that its {layout.RUN} names, of its {layout.SPLIT}",
        )
    recipe = ChsNetRecipe.model_validate(provenance["recipe"])
    files = {name: run / layout.weights_of(name) for name in (layout.SCREENING, layout.REFINED)}
    return _Trained(
        recipe=recipe,
        detector=Detector.load(run / layout.DETECTOR),
        networks={name: load_weights(ChsNet(recipe.network), file) for name, file in files.items() if file.exists()},
    )


def _scored(
    trained: _Trained,
    cohort: Cohort,
    part: str,
    cases: tuple[str, ...],
    compute: Compute,
    progress: Progress | None,
) -> tuple[NDArray[np.bool_], dict[str, NDArray[np.float32]]]:
    """Which patches of a part's slides are figures, (N,), and each network's scores of all, (N,)."""
    is_figure = [np.zeros(0, dtype=np.bool_)]
    score = {name: [np.zeros(0, dtype=np.float32)] for name in trained.networks}
    slides = sum(entry.labelled for entry in cohort.of_cases(cases).slides)
    for number, pool in enumerate(_pools(trained, cohort, part, cases), start=1):
        is_figure.append(pool.index.label == 1)
        for name, network in trained.networks.items():
            score[name].append(pool.score(network, np.arange(len(pool.index)), compute))
        if progress is not None:
            progress("patches", number, slides)
    return np.concatenate(is_figure), {name: np.concatenate(column) for name, column in score.items()}


def _pools(trained: _Trained, cohort: Cohort, part: str, cases: tuple[str, ...]) -> Iterator[PatchPool]:
    """The patches of each labelled slide, which is rendered only as long as they are read."""
    recipe, config = trained.recipe, trained.detector
    for entry in cohort.of_cases(cases).slides:
        if not entry.labelled:
            continue
        with tempfile.TemporaryDirectory(prefix="mitosieve-") as folder:
            store = frames_in(recipe, Path(folder))
            store.add(entry.slide_id, partial(cohort.open, entry.slide_id), config.stain_target)
            rule = window_rule(recipe, store, varied=frozenset({entry.slide_id} if part == "train" else ()))
            places = Places.concatenate([rule.places(cohort, entry)])
            yield PatchPool.of_places(places, store, recipe.view, cohort)


def _sorted(
    trained: _Trained, is_figure: NDArray[np.bool_], score: dict[str, NDArray[np.float32]]
) -> Iterator[dict[str, Any]]:
    """A row for each network at each of its thresholds, then for both; kept is what exceeds a threshold."""

    def row(network: str, gate: float | None, operating: float | None) -> dict[str, Any]:
        kept = np.ones(len(is_figure), dtype=np.bool_)
        for name, threshold in ((layout.SCREENING, gate), (layout.REFINED, operating)):
            if threshold is not None:
                kept &= score[name] > threshold
        thresholds = {"gate": "" if gate is None else gate, "operating": "" if operating is None else operating}
        return {"network": network, **thresholds, **kept_table(kept[is_figure], kept[~is_figure])}

    gate, operating = trained.gate, trained.operating
    mined = trained.recipe.mining.threshold
    yield row(layout.SCREENING, mined, None)
    if gate is not None and gate != mined:
        yield row(layout.SCREENING, gate, None)
    if operating is not None:
        yield row(layout.REFINED, None, operating)
    if gate is not None and operating is not None:
        yield row("cascade", gate, operating)


def _detected(trained: _Trained, run: Path, cases: tuple[str, ...], windows: int) -> dict[str, Any]:
    """The row of what is left after suppression, by the run's own evaluation of its test cases."""
    metrics = read_metrics(run / layout.TEST)
    scored = sorted(row["case_id"] for row in metrics["per_case"])
    if scored != sorted(cases):
        raise SplitError(
            "was evaluated on other cases than the fold tests",
            where=run / layout.TEST / layout.METRICS,
            remedy="detect and evaluate there again, with --split and --fold",
        )
    pooled = metrics["pooled"]
    tp, fn, fp = (int(pooled[name]) for name in ("tp", "fn", "fp"))
    kept_figures, kept_windows = np.arange(tp + fn) < tp, np.arange(max(windows, fp)) < fp
    network = "cascade" if len(trained.detector.config.stages) > 1 else trained.detector.stage_names[0]
    return {
        "network": network,
        "gate": "" if trained.gate is None else trained.gate,
        "operating": "" if trained.operating is None else trained.operating,
        **kept_table(kept_figures, kept_windows),
    }
