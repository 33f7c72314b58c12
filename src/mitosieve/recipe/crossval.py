"""Train, detect and score every fold of a split, and pool the test cases: one honest figure for a recipe."""

from collections.abc import Sequence
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.detection import Detections
from mitosieve.errors import SlideError, SplitError
from mitosieve.export.table import read_detections, write_detections
from mitosieve.network.compute import Compute
from mitosieve.recipe.recipe import FoldRun, Recipe, check_validation, parts_of, provenance_of, train_fold
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder
from mitosieve.run.log import FOLDS, Progress, job_log
from mitosieve.scan import Scan, items_of_cohort, origin_of, scan, write_request
from mitosieve.score.evaluated import evaluate_folder, with_unseen, write_evaluation
from mitosieve.score.evaluation import EvaluateConfig, Evaluation, evaluate
from mitosieve.train.job import Mapper


def cross_validate(  # noqa: PLR0913 - one job, called from one place
    recipe: Recipe,
    cohort: Cohort,
    split: Split,
    out: Path,
    *,
    folds: Sequence[str] = (),
    compute: Compute,
    resume: bool,
    progress: Progress | None = None,
    mapper: Mapper | None = None,
) -> Evaluation:
    """Run the folds one after another in `out/FOLD`, score each test part, then all of them pooled in `out`.

    Each fold's detections keep the operating threshold that its own validation chose, or the recipe's number. Finished
    folds are not repeated on resume. Folds that were trained one by one into `out/FOLD` are taken up by a resume, too.

    Args:
        recipe: the science.
        cohort: the data.
        split: its folds.
        out: folder of the result.
        folds: names of folds; empty is all.
        compute: machine.
        resume: whether to go on with an earlier try.
        progress: told how far the work is.
        mapper: does the independent trainings of a fold side by side or elsewhere.

    Raises:
        SplitError: a case is tested in two of the folds, so that pooling would count it twice; or a fold has no
            validation case and the recipe chooses something there.
        RunFolderError: `out` holds something else, another cross-validation, or is in use.
        SlideError: a test slide could not be read; named, after all folds were done and pooled.
    """
    names = list(folds) or list(split.folds)
    tested = {name: split.fold(name).test for name in names}
    cases = [case for name in names for case in tested[name]]
    twice = sorted({case for case in cases if cases.count(case) > 1})
    if twice:
        raise SplitError(
            f"the case {twice[0]} is tested in more than one of the folds",
            remedy="choose folds with different test cases",
        )
    split.check(cohort)
    check_validation(recipe, split, names)
    provenance = {**provenance_of(recipe, cohort), "folds": {name: parts_of(split, name) for name in names}}
    whole = RunFolder.create(out, provenance, kind=layout.Kind.CROSSVAL, resume=resume, parts=names)
    found: list[Detections] = []
    failed: dict[str, str] = {}
    with whole.lock(), job_log(out, progress) as log:
        whole.keep_places(provenance)
        begun = False
        for number, name in enumerate(names):
            log(FOLDS, number, len(names), **({"kept": 1.0} if begun else {}))
            begun = (out / name / layout.RUN).exists()  # its time is not all of this try
            what = FoldRun(recipe=recipe, cohort=cohort, split=split, fold=name, out=out / name)
            train_fold(what, compute=compute, resume=resume, progress=log, mapper=mapper)
            of_fold, broken = score_test_cases(
                what.out, cohort, name, tested[name], compute=compute, resume=resume, progress=log
            )
            found.append(of_fold)
            failed |= broken
        pooled = Detections.concatenate(found)
        write_detections(out / layout.DETECTIONS, pooled)
        write_request(out, {"cohort": str(cohort.folder.resolve()), "folds": names, "part": "test"})
        result = with_unseen(evaluate(pooled, cohort, cases=tuple(cases), folds=tested), failed)
        write_evaluation(out / layout.METRICS, result)
    if failed:
        name, why = next(iter(failed.items()))
        raise SlideError(
            f"{len(failed)} test slides could not be read and their figures count as missed; first {name}: {why}",
            where=out / layout.METRICS,
            remedy="mend them, delete the folder `test` of their fold, and repeat the command with --resume",
        )
    return result


def score_test_cases(  # noqa: PLR0913 - one call of one job
    run: Path,
    cohort: Cohort,
    fold: str,
    cases: tuple[str, ...],
    *,
    compute: Compute,
    resume: bool,
    progress: Progress | None = None,
) -> tuple[Detections, dict[str, str]]:
    """Detect on a fold's test cases into `run/test` and score them there.

    Returns:
        The detections, and slide_id -> why for slides that could not be read.
    """
    out = run / layout.TEST
    job = Scan(
        detector=run,
        items=items_of_cohort(cohort, cases),
        out=out,
        origin=origin_of(cohort, fold, layout.TEST),
        compute=compute,
        resume=resume,
        progress=progress,
    )
    failed = scan(job).failed
    evaluate_folder(out, cohort, cases=cases, config=EvaluateConfig())
    return read_detections(out / layout.DETECTIONS), failed
