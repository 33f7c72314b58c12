"""Test scores of all detectors of finished runs: `python bench/controls.py COHORT SPLIT A=RUN B=RUN ...`

For every detector of each run (of finegrained the ensemble, the chosen regime and every control; of dasc the full
method and the method without a part): detects on the fold's test cases into RUN/test-NAME, scores, pools the folds that
have it into OUT/NAME, and compares each with the reference by a paired bootstrap. Thresholds are the detectors' own,
from validation cases.

`--reference detector` compares with the run's own detector instead of the chosen regime. `--shares 0.2,1` first makes
detectors of these labelled shares too (RUN/detector-share_0.2), of the networks that the search has trained, with
thresholds from the validation cases: so is "a fifth against all" told on test cases.
"""

import argparse
import json
from pathlib import Path

import cv2
import torch

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.detection import Detections
from mitosieve.errors import FrameError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.method.finegrained.regime import Trial
from mitosieve.network.compute import Compute
from mitosieve.network.registry import build_network, load_weights
from mitosieve.run import layout
from mitosieve.scan import Scan, items_of_cohort, origin_of, scan
from mitosieve.score.evaluated import compare_folders, evaluate_folder, write_evaluation
from mitosieve.score.evaluation import EvaluateConfig, Evaluation, choose_threshold, evaluate
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("runs", nargs="+", metavar="FOLD=RUN")
    parser.add_argument("--out", type=Path, default=Path("control-scores"))
    parser.add_argument("--shares", default="", help="Labelled shares, comma-separated.")
    parser.add_argument("--reference", default="detector-chosen")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    cv2.setNumThreads(1)
    compute = Compute.choose(asked.device)
    cohort, split = Cohort.load(asked.cohort), Split.load(asked.split)
    runs = {fold: Path(run) for fold, _, run in (word.partition("=") for word in asked.runs)}
    for fold, run in runs.items():
        for share in map(float, filter(None, asked.shares.split(","))):
            make_of_share(run, share, cohort, split.fold(fold).validation, compute)
    names = sorted({path.parent.name for run in runs.values() for path in run.glob("detector*/detector.toml")})
    for name in names:
        having = {fold: run for fold, run in runs.items() if (run / name).is_dir()}
        for fold, run in having.items():
            result = score(run, name, cohort, split, fold, compute)
            print(f"{name} fold {fold}: {told(result)}", flush=True)
        if len(having) > 1:
            print(
                f"{name} folds {','.join(having)}: {told(pooled(asked.out, having, name, cohort, split))}", flush=True
            )
    for fold, run in runs.items():
        tell_differences(f"fold {fold}", run / f"test-{asked.reference}", sorted(run.glob("test-*")))
    tell_differences("pooled", asked.out / asked.reference, sorted(asked.out.glob("detector*")))


def make_of_share(run: Path, share: float, cohort: Cohort, validation: tuple[str, ...], compute: Compute) -> None:
    """Networks of all seeds of a share, mean logit, threshold from validation; the chosen share's is there already."""
    folder = run / f"detector-share_{share:g}"
    content = json.loads((run / "regimes.json").read_text())
    if (folder / "detector.toml").exists() or content["chosen"]["regime"]["labelled"] == share:
        return
    chosen = Detector.load(run / "detector-chosen")
    trials = [Trial.from_json(item) for item in content["rounds"][0]["trials"] if item["regime"]["labelled"] == share]
    networks = tuple(
        load_weights(
            build_network(chosen.config.stages[0].network),
            run / f"trials/round-1/{trial.regime.name}-seed-{trial.seed}/networks/network.safetensors",
        )
        for trial in trials
    )
    untuned = Detector(config=chosen.config, networks=(networks,))
    found = detect(untuned, cohort, cases=validation, compute=compute)
    untuned.with_threshold(choose_threshold(found, cohort, cases=validation).threshold).save(folder)


def score(run: Path, name: str, cohort: Cohort, split: Split, fold: str, compute: Compute) -> Evaluation:
    cases, out = split.fold(fold).test, run / f"test-{name}"
    if not (out / layout.METRICS).exists():
        job = Scan(
            detector=run / name,
            items=items_of_cohort(cohort, cases),
            out=out,
            origin=origin_of(run / name, cohort, fold, "test"),
            compute=compute,
            resume=(out / layout.RUN).exists(),
        )
        failed = scan(job).failed
        assert not failed, failed
    return evaluate_folder(out, cohort, cases=cases, config=EvaluateConfig())


def pooled(out: Path, runs: dict[str, Path], name: str, cohort: Cohort, split: Split) -> Evaluation:
    tested = {fold: split.fold(fold).test for fold in runs}
    found = Detections.concatenate([read_detections(run / f"test-{name}" / layout.DETECTIONS) for run in runs.values()])
    cases = tuple(case for of_fold in tested.values() for case in of_fold)
    result = evaluate(found, cohort, cases=cases, folds=tested)
    write_detections(out / name / layout.DETECTIONS, found)
    write_evaluation(out / name / layout.METRICS, result)
    return result


def told(result: Evaluation) -> str:
    score, (low, high) = result.pooled, (result.interval.low, result.interval.high)
    return (
        f"found {score.tp} false {score.fp} missed {score.fn} F1 {score.f1:.3f} [{low:.3f}, {high:.3f}] "
        f"precision {score.precision:.3f} recall {score.recall:.3f} AP {result.ap:.3f}"
    )


def tell_differences(what: str, reference: Path, folders: list[Path]) -> None:
    for folder in folders:
        if folder == reference or not (folder / layout.METRICS).exists() or not (reference / layout.METRICS).exists():
            continue
        try:
            found = compare_folders([reference, folder])
        except FrameError as error:  # a control that not all folds have
            print(f"{what}: {folder.name}: not compared ({error.what})")
            continue
        f1 = next(difference for difference in found.differences if difference.figure == "f1")
        low, high = f1.interval.low, f1.interval.high
        print(f"{what}: {folder.name} minus {reference.name}: F1 {f1.value:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
