"""Fine-grained hard negative mining: a rotation-invariant network, and a search for the negatives to train it on.

A reconstruction of Lafarge & Koelzer (MIDOG 2022, arXiv 2301.01079). Certain from their abstract: a rotation-invariant
network, aggressive augmentation, hard negatives also from the unlabelled slides, a search over mining regimes whose
best used 19.6 % of the training patches, an ensemble. How each is done is ours. Reads in the order of the work: places,
first networks and their out-of-fold scores, the search, its controls, the ensemble, the threshold.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np

from mitosieve.errors import TrainingError
from mitosieve.method.finegrained.recipe import Control, FineGrainedRecipe
from mitosieve.method.finegrained.regime import REGIMES_FORMAT, Regime, RegimeScore, Round, Trial, scored
from mitosieve.method.finegrained.task import TrialTask, frame_store, parts_of, pool_of, stage_of
from mitosieve.method.finegrained.trial import candidates_of, rows_of, run_trial
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.train import (
    NO_PART,
    CropRule,
    Job,
    Places,
    PoolScores,
    ProposalRule,
    hand_over,
    inner_parts,
    note_crops,
    parts_note,
    places_of_fold,
    render_frames,
)


def run_finegrained(recipe: FineGrainedRecipe, job: Job) -> Detector:
    """Train the ensemble on the fold's training cases; everything is chosen on its validation cases.

    Every trial leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    with job.timed("patches"):
        notes = gather(recipe, job)
    with job.timed("first networks"):
        score_out_of_fold(recipe, job, Regime(unlabelled=0.0), round_number=1)
    with job.timed("search"):
        rounds = search(recipe, job, notes)
        chosen = rounds[-1].best
    with job.timed("controls"):
        controls = run_controls(recipe, job, chosen, round_number=len(rounds))
        keep_shares(recipe, job, rounds[0])
    report(recipe, job, rounds, controls, notes)
    with job.timed("ensemble"):
        members = train_ensemble(recipe, job, chosen.regime, round_number=len(rounds))
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, layout.DETECTOR, members, fused=True)


def gather(recipe: FineGrainedRecipe, job: Job) -> list[str]:
    """Render the frames, find the places of train and validation slides, and count them into patches.json.

    Returns:
        What a reader of the run must know, a sentence each.

    Raises:
        CohortError: no figure, or no background, in the training or validation cases.
        TrainingError: too few slides with figures for the inner parts.
    """
    render_frames(job, frame_store(recipe, job), unlabelled=recipe.unlabelled)
    hidden = hidden_slides(recipe, job)
    proposals = ProposalRule(plan=recipe.plan, truth=recipe.truth, settle=True, hidden=hidden)
    rule = CropRule.of(job.cohort, proposals)
    places = places_of_fold(job, rule, unlabelled=recipe.unlabelled)["train"]
    note_crops(job, places, rule.rooms)
    _refuse_few_parts(recipe, job, places)
    labelled = places.index.origin != Origin.UNLABELLED.value
    job.note(parts_note(places.index.slide_id, job.cohort.case_of, recipe.first.parts, held=labelled))
    return _notes(recipe, job, places, hidden)


def hidden_slides(recipe: FineGrainedRecipe, job: Job) -> frozenset[str]:
    """Labelled training slides whose marks are hidden: ceil(share * slides) of them, drawn with the run's seed."""
    names = sorted(entry.slide_id for entry in job.cohort.of_cases(job.fold.train).slides if entry.labelled)
    count = int(np.ceil(recipe.hidden * len(names) - 1e-9))
    chosen = derive_generator(recipe.seed, "hidden slides").permutation(len(names))[:count]
    return frozenset(names[i] for i in chosen)


def _refuse_few_parts(recipe: FineGrainedRecipe, job: Job, places: Places) -> None:
    """Every part must hold something, and without it there must be figures and background left to learn from."""
    labelled = places.index.origin != Origin.UNLABELLED.value
    for parts in recipe.part_counts:
        part = inner_parts(places.index.slide_id, job.cohort.case_of, parts, recipe.seed, held=labelled)
        for origin in (Origin.FIGURE, Origin.BACKGROUND):
            kind = part[places.with_origin(origin)]
            if any(not (kind != number).any() or not (part == number).any() for number in range(parts)):
                raise TrainingError(
                    f"{parts} parts are too many for the training slides: one is empty, or no {origin.value} is left "
                    "without it",
                    where=job.cohort.folder,
                    remedy="use fewer first.parts and ensemble.members (1 makes no parts), or add training slides",
                )


def _notes(recipe: FineGrainedRecipe, job: Job, places: Places, hidden: frozenset[str]) -> list[str]:
    notes: list[str] = []
    if not len(places.with_origin(Origin.UNLABELLED)):
        why = "" if recipe.unlabelled else " (recipe: unlabelled = false)"
        notes.append(f"no unlabelled slide among the training cases{why}: shares and caps of them are not searched")
    if not len(places.with_origin(Origin.IMPOSTER)):
        notes.append("no imposter is marked on the training slides: their weight is not searched")
    labelled = places.index.origin != Origin.UNLABELLED.value
    case = job.cohort.case_of
    if len({case[str(name)] for name in np.unique(places.index.slide_id[labelled])}) == 1:
        notes.append("one training case: inner parts are slides of one patient, so out-of-fold scores are too sure")
    if hidden:
        notes.append(f"the marks of {len(hidden)} labelled training slides were hidden: they serve as unlabelled")
    return notes


def partition(job: Job) -> dict[str, int]:
    """How many patches of each kind the training cases hold: what a used fraction is a fraction of (our reading)."""
    count: dict[str, int] = json.loads(job.file(layout.PATCHES).read_text())["train"]
    return {
        "figures": count[Origin.FIGURE.value],
        "imposters": count[Origin.IMPOSTER.value],
        "labelled": count[Origin.BACKGROUND.value],
        "unlabelled": count[Origin.UNLABELLED.value],
    }


def cap_report(task: TrialTask, *, hidden: bool) -> dict[str, Any]:
    """What a regime's cap drops of the unlabelled candidates; where marks were hidden, how many of it are figures."""
    train = pool_of(task, "train")
    rows = train.places.with_origin(Origin.UNLABELLED)
    dropped = candidates_of(task, train.places, rows).capped(task.regime.cap)
    figure = train.places.hidden_figure[rows]
    return {
        "dropped": int(dropped.sum()),
        "of": len(rows),
        "hidden_figures": int(figure.sum()) if hidden else None,
        "hidden_figures_dropped": int((dropped & figure).sum()) if hidden else None,
    }


def _task(recipe: FineGrainedRecipe, job: Job, folder: str, regime: Regime, round_number: int, seed: int) -> TrialTask:
    return TrialTask(
        job=replace(job, progress=None, mapper=None),
        recipe=recipe,
        folder=folder,
        network=recipe.network,
        schedule=recipe.trial,
        regime=regime,
        scores=layout.scores_of_round(round_number) if round_number else None,
        seed=seed,
    )


def score_out_of_fold(recipe: FineGrainedRecipe, job: Job, regime: Regime, *, round_number: int) -> None:
    """Score every place of the training slides by networks that have not trained on its slide.

    Unlabelled slides are scored by the mean of all networks: in round 1 none has seen them; in round 2, whose networks
    learn from the unlabelled negatives of the chosen regime, all may have (a note of the run says so).
    """
    path = job.file(layout.scores_of_round(round_number))
    if path.exists():
        return
    parts = recipe.first.parts
    tasks = [
        replace(
            _task(
                recipe, job, f"{layout.FIRST}/round-{round_number}-part-{part + 1}", regime, round_number - 1, part + 1
            ),
            schedule=recipe.first.train,
            without=(part, parts),
        )
        for part in range(parts)
    ]
    job.each(run_trial, tasks, "first networks")
    train = pool_of(tasks[0], "train")
    part = parts_of(tasks[0], train.places, parts)
    total = np.zeros(len(train.places))
    for number, task in enumerate(tasks):
        rows = np.flatnonzero((part == number) | (part == NO_PART))
        total[rows] += train.score(task.load(), rows, job.compute, job.progress)
    score = np.where(part == NO_PART, total / parts, total).astype(np.float32)
    PoolScores(patch_id=train.index.patch_id, score=score).save(path)


def search(recipe: FineGrainedRecipe, job: Job, notes: list[str]) -> list[Round]:
    """Try every regime with every seed, the same number of steps each; the best mean F1 on validation wins.

    Returns:
        The rounds; the best of the last one is chosen.
    """
    counts = partition(job)
    regimes = recipe.search.regimes(unlabelled=counts["unlabelled"] > 0, imposters=counts["imposters"] > 0)
    rounds: list[Round] = []
    for number in range(1, recipe.search.rounds + 1):
        tried = _large_enough(recipe, job, regimes, number, notes)
        tasks = [
            _task(recipe, job, f"{layout.TRIALS}/round-{number}/{regime.name}-seed-{seed}", regime, number, seed)
            for regime in tried
            for seed in range(1, recipe.search.seeds + 1)
        ]
        trials = tuple(job.each(run_trial, tasks, "trials"))
        rounds.append(Round(scores=f"out of fold, {recipe.first.parts} parts", trials=trials))
        best = rounds[-1].best
        if number < recipe.search.rounds:
            score_out_of_fold(recipe, job, best.regime, round_number=number + 1)
            if best.regime.unlabelled > 0:
                notes.append(
                    f"unlabelled candidates of round {number + 1} are scored by networks that may have seen them"
                )
            regimes = recipe.search.around(best.regime)
    return rounds


def _large_enough(
    recipe: FineGrainedRecipe, job: Job, regimes: tuple[Regime, ...], number: int, notes: list[str]
) -> list[Regime]:
    """Regimes whose negatives fill their half of a batch; the others are named in the notes.

    Raises:
        TrainingError: none does.
    """
    wanted = recipe.trial.batch_size // 2
    kept: list[Regime] = []
    for regime in regimes:
        task = _task(recipe, job, "", regime, number, 1)
        found = len(np.unique(rows_of(task, pool_of(task, "train")).negatives))
        if found >= wanted:
            kept.append(regime)
        else:
            notes.append(f"regime {regime.name} was left out: it keeps {found} negatives, a batch holds {wanted}")
    if not kept:
        raise TrainingError(
            f"no regime keeps the {wanted} negatives that half a batch holds",
            where=job.run.path,
            remedy="list larger shares in search.labelled, lower trial.batch_size, or add training slides",
        )
    return kept


def run_controls(
    recipe: FineGrainedRecipe, job: Job, chosen: RegimeScore, *, round_number: int
) -> list[tuple[Control, list[Trial]]]:
    """Train each control with the search's seeds; keep it and the chosen regime as detectors of those networks."""
    made: list[tuple[Control, list[Trial]]] = []
    if not recipe.controls:
        return made
    seeds = range(1, recipe.search.seeds + 1)
    for control in recipe.controls:
        regime = control.regime(chosen.regime)
        tasks = [
            replace(
                _task(recipe, job, f"{layout.CONTROLS}/{control.name}-seed-{seed}", regime, round_number, seed),
                network=recipe.network if control.network is None else control.network,
            )
            for seed in seeds
        ]
        made.append((control, job.each(run_trial, tasks, f"control {control.name}")))
        assemble(recipe, job, f"{layout.DETECTOR}-{control.name}", tasks, fused=False)
    _keep(recipe, job, f"{layout.DETECTOR}-chosen", chosen.regime, round_number)
    return made


def keep_shares(recipe: FineGrainedRecipe, job: Job, first: Round) -> None:
    """Keep a detector of each labelled share of the first round, where the recipe asks for it: its best regime's."""
    if not recipe.search.keep:
        return
    for share in dict.fromkeys(recipe.search.labelled):
        best = max((score for score in first.regimes if score.regime.labelled == share), key=lambda one: one.mean,
                   default=None)  # fmt: skip
        if best is not None:
            _keep(recipe, job, f"{layout.DETECTOR}-share_{share:g}", best.regime, 1)


def _keep(recipe: FineGrainedRecipe, job: Job, name: str, regime: Regime, round_number: int) -> None:
    """The networks of a regime's seeds, mean logit, as a detector."""
    folder = f"{layout.TRIALS}/round-{round_number}/{regime.name}-seed-"
    seeds = range(1, recipe.search.seeds + 1)
    tasks = [_task(recipe, job, f"{folder}{seed}", regime, round_number, seed) for seed in seeds]
    assemble(recipe, job, name, tasks, fused=False)


def train_ensemble(recipe: FineGrainedRecipe, job: Job, regime: Regime, *, round_number: int) -> list[TrialTask]:
    """Networks of the chosen regime, each without another part of the slides."""
    members = recipe.ensemble.members
    tasks = [
        replace(
            _task(recipe, job, f"{layout.ENSEMBLE}/member-{number + 1}", regime, round_number, number + 1),
            schedule=recipe.ensemble.train,
            without=(number, members) if members > 1 else None,
        )
        for number in range(members)
    ]
    job.each(run_trial, tasks, "ensemble")
    return tasks


def detector_config(recipe: FineGrainedRecipe, stage: Stage | None = None, *, fused: bool = True) -> DetectorConfig:
    """Proposer and the one stage; its threshold is still to be chosen.

    Args:
        recipe: of the run.
        stage: of one network; None is that of the recipe's.
        fused: whether they are fused as the recipe's ensemble is; else by their mean.

    Raises:
        ValidationError: there is no such detector.
    """
    ensemble = recipe.ensemble
    stage = stage_of(recipe.network) if stage is None else stage
    if fused and ensemble.fusion == "votes":
        stage = stage.model_copy(update={"fusion": "votes", "votes": ensemble.votes, "votes_um": ensemble.votes_um})
    return DetectorConfig(
        made_by="mitosieve recipe finegrained (a reconstruction)",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=(stage,),
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
    )


def assemble(recipe: FineGrainedRecipe, job: Job, folder: str, tasks: list[TrialTask], *, fused: bool) -> Detector:
    """Networks as one stage behind the proposer, thresholds by the recipe's rule."""
    config = detector_config(recipe, tasks[0].stage, fused=fused)
    networks = [[task.load() for task in tasks]]
    return hand_over(job, folder, config, networks, frame_store(recipe, job), recipe.thresholds)


def report(
    recipe: FineGrainedRecipe,
    job: Job,
    rounds: list[Round],
    controls: list[tuple[Control, list[Trial]]],
    notes: list[str],
) -> None:
    """Write regimes.json: every trial, the curve's points, the chosen regime, controls, and what its cap dropped."""
    chosen = rounds[-1].best
    task = _task(recipe, job, "", chosen.regime, len(rounds), 1)
    write_json(
        job.file(layout.REGIMES),
        {
            "format": REGIMES_FORMAT,
            "partition": partition(job),
            "rounds": [one.to_json() for one in rounds],
            "chosen": chosen.to_json(),
            "controls": [
                {
                    "name": control.name,
                    "about": control.about,
                    "trials": [trial.to_json() for trial in trials],
                    "score": scored(trials)[0].to_json(),
                }
                for control, trials in controls
            ],
            "cap": cap_report(task, hidden=bool(hidden_slides(recipe, job))),
            "notes": notes,
        },
    )
