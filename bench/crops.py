"""How many figures of crops a detector finds: `python bench/crops.py COHORT --run RUN` or `--detector NAME`.

With `--run`, of a sieve training: each crop is judged by the networks that have not seen its patient (of a run with
`dealt = "domains"`: its domain). With `--detector`, by a whole detector, of the package or a folder. At its balanced
threshold, which crops did not choose, or at `--threshold`. Printed by domain: patients, figures, found, recall with its
95 % interval (bootstrap over patients; none of one patient), false alarms per mm2. A crop is a tenth of a field round a
figure: its false alarms are those beside figures, and its gates are the training slides', for there is no slide to rank
its places in.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.method.sieve.recipe import SieveRecipe
from mitosieve.method.sieve.task import crops_of, parts_of_cases
from mitosieve.network.compute import Compute
from mitosieve.network.registry import build_network, load_weights
from mitosieve.recipe.recipe import load_recipe
from mitosieve.score.evaluation import evaluate
from mitosieve.score.table import SlideScore
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector
from mitosieve.train import Places

DRAWS = 2000


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Crops and the detector that judges them."""

    detector: Detector
    cohort: Cohort


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    by = parser.add_mutually_exclusive_group(required=True)
    by.add_argument("--run", type=Path)
    by.add_argument("--detector")
    parser.add_argument("--threshold", type=float)
    asked = parser.parse_args()
    cohort = Cohort.load(asked.cohort)
    tasks = out_of_fold(asked.run, cohort) if asked.run else whole(asked.detector, cohort)
    scores: dict[str, list[SlideScore]] = {}
    for task in tasks:
        found = detect(task.detector, task.cohort, compute=Compute.choose("cpu"))
        if asked.threshold is not None:
            found = replace(found, is_figure=found.score >= asked.threshold)
        for slide in evaluate(found, task.cohort).slides:
            scores.setdefault(slide.domain, []).append(slide)
    print("domain", "patients", "figures", "found", "recall", "low", "high", "false per mm2", sep="\t")
    for domain, slides in sorted(scores.items()):
        print(domain, *in_words(slides), sep="\t")


def out_of_fold(run: Path, cohort: Cohort) -> Iterator[Judged]:
    """The crops of each part with the networks that were trained without it."""
    recipe = load_recipe(str(run / "recipe.toml"))
    assert isinstance(recipe, SieveRecipe), f"{run} is no sieve training"
    part_of = parts_of_cases(recipe, cohort, Places.load(run / "places" / "train.parquet"))
    crops = set(crops_of(recipe, cohort))
    config = Detector.load(run).with_scale(1.0, 0.0).config  # a member alone is not scaled
    for number in range(recipe.parts):
        kept = [e for e in cohort.slides if e.slide_id in crops and part_of.get(e.case_id) == number]
        networks = tuple(
            (load_weights(build_network(s.network), run / f"networks/{s.name} without part {number + 1}.safetensors"),)
            for s in config.stages
        )
        if kept:
            yield Judged(detector=Detector(config=config, networks=networks), cohort=part(cohort, kept))


def whole(name: str, cohort: Cohort) -> Iterator[Judged]:
    """All crops with one detector."""
    crops = set(crops_of(load_sieve(), cohort))
    kept = [entry for entry in cohort.slides if entry.labelled and entry.slide_id in crops]
    yield Judged(detector=Detector.load(name), cohort=part(cohort, kept))


def load_sieve() -> SieveRecipe:
    """The recipe as it comes, which says what a crop is."""
    recipe = load_recipe("sieve")
    assert isinstance(recipe, SieveRecipe)
    return recipe


def part(cohort: Cohort, entries: list[SlideEntry]) -> Cohort:
    """Some slides of a cohort with their marks."""
    names = [entry.slide_id for entry in entries]
    return Cohort(cohort.folder, tuple(entries), cohort.annotations[np.isin(cohort.annotations.slide_id, names)])


def in_words(slides: list[SlideScore]) -> tuple[str, ...]:
    """Patients, figures, found, recall and its interval, false alarms per mm2."""
    cases = sorted({slide.case_id for slide in slides})
    found = np.array([sum(slide.tp for slide in slides if slide.case_id == case) for case in cases])
    figures = np.array([sum(slide.tp + slide.fn for slide in slides if slide.case_id == case) for case in cases])
    times = np.random.default_rng(0).multinomial(len(cases), np.full(len(cases), 1 / len(cases)), DRAWS)
    low, high = np.quantile((times @ found) / np.maximum(times @ figures, 1), (0.025, 0.975))
    ends = ("", "") if len(cases) == 1 else (f"{low:.3f}", f"{high:.3f}")
    false = sum(slide.fp for slide in slides) / sum(slide.area_mm2 for slide in slides)
    counts = (str(len(cases)), str(figures.sum()), str(found.sum()), f"{found.sum() / max(figures.sum(), 1):.3f}")
    return (*counts, *ends, f"{false:.1f}")


if __name__ == "__main__":
    main()
