"""Fine-grained hard negative mining: a rotation-invariant network, and a search for the negatives to train it on.

A reconstruction of Lafarge & Koelzer (MIDOG 2022, arXiv 2301.01079). Certain from their abstract: a rotation-invariant
network, aggressive augmentation, hard negatives also from the unlabelled slides, a search over mining regimes whose
best used 19.6 % of the training patches, an ensemble. How each is done is ours. Reads in the order of the work: places,
first networks and their out-of-fold scores, the search, its controls, the ensemble, the threshold.
"""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mitosieve.errors import TrainingError
from mitosieve.method.finegrained.gathering import Gathering, cap_report, gather, hidden_slides, partition, store_of
from mitosieve.method.finegrained.regime import REGIMES_FORMAT, Regime, RegimeGrid, RegimeScore, Round, Trial, scored
from mitosieve.method.finegrained.trial import Material, TrialTask, inner_parts, pool_of, rows_of, run_trial
from mitosieve.network.loss import LossConfig
from mitosieve.network.rototranslation import RotoTranslationConfig
from mitosieve.patch.augment.distortion import DistortionConfig, reach_px
from mitosieve.patch.frames import FrameConfig
from mitosieve.run.folder import write_json
from mitosieve.sieve.detector import Detector, DetectorConfig, Stage
from mitosieve.sieve.propose.proposer import NucleiProposer
from mitosieve.train.job import Job
from mitosieve.train.ledger import Ledger
from mitosieve.train.loop import TrainConfig
from mitosieve.train.proposals import TruthConfig
from mitosieve.train.stage import tuned

Share = Annotated[float, Field(ge=0, le=1)]


class FirstConfig(BaseModel):
    """The first networks, which score the pool: figures against imposters and background, nothing mined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: int = Field(default=3, ge=2, le=20)
    """Inner parts by case (by slide where there are fewer cases); each is scored by a network that has not seen it."""
    train: TrainConfig = TrainConfig()


class EnsembleConfig(BaseModel):
    """The networks that are handed over."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: int = Field(default=5, ge=1, le=20)
    """Networks of the chosen regime, each without another part of the slides; 1 learns from all of them."""
    fusion: Literal["mean", "votes"] = "mean"
    """See `Stage.fusion`."""
    votes: int = Field(default=3, ge=1, le=20)
    votes_um: float = Field(default=7.5, gt=0, le=50)
    train: TrainConfig = TrainConfig()


class Control(BaseModel):
    """A comparison: trained like the chosen regime but for what is stated, and kept as a detector of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    about: str = ""
    choice: Literal["hardest", "random"] | None = None
    labelled: Share | None = None
    unlabelled: Share | None = None
    cap: Share | None = None
    imposter_weight: int | None = Field(default=None, ge=0, le=100)
    network: RotoTranslationConfig | None = None

    def regime(self, chosen: Regime) -> Regime:
        """The chosen regime with what this control states instead."""
        stated = self.model_dump(exclude={"name", "about", "network"}, exclude_none=True)
        return Regime.model_validate({**chosen.model_dump(), **stated})


class FineGrainedRecipe(BaseModel):
    """All numbers of one training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["finegrained"] = "finegrained"
    seed: int = Field(default=1, ge=0)
    frame: FrameConfig = FrameConfig(stain="none")
    """Colours stay as they are: the organisers say of the 2021 entry that it normalised no stain."""
    proposer: NucleiProposer = NucleiProposer()
    truth: TruthConfig = TruthConfig()
    crop_apart_um: float = Field(default=7.5, ge=0, le=100)
    """`truth.apart_um` in crops, which end before anything is so far away: the official matching radius."""
    crop_share: Share = 0.5
    """Share of the figures, and of the negatives, of a batch that come from crops, where the cohort holds crops."""
    network: RotoTranslationConfig = RotoTranslationConfig()
    loss: LossConfig = LossConfig(kind="cross-entropy")
    augment: DistortionConfig = DistortionConfig()
    hidden: Share = 0.0
    """Share of the labelled training slides whose marks are hidden, so that they serve as unlabelled ones."""
    unlabelled: bool = True
    """Whether the unlabelled slides of the training cases are used."""
    peak_um: float = Field(default=7.5, ge=0, le=100)
    """Of candidates this near to each other on a slide the one of highest score is chosen before the others."""
    first: FirstConfig = FirstConfig()
    search: RegimeGrid = RegimeGrid()
    trial: TrainConfig = TrainConfig()
    """Training of each network of the search and of the controls: the same number of steps for every regime."""
    controls: tuple[Control, ...] = ()
    ensemble: EnsembleConfig = EnsembleConfig()
    threshold: Share | Literal["validation"] = "validation"
    merge_um: float = Field(default=7.5, ge=0, le=100)
    """See `DetectorConfig.merge_um`."""
    keep_above: float = Field(default=0.05, ge=0, le=1)

    @model_validator(mode="after")
    def _consistent(self) -> "FineGrainedRecipe":
        names = [control.name for control in self.controls]
        sizes = {c.network.input_px for c in self.controls if c.network is not None} | {self.network.input_px}
        if len(sizes) > 1:
            raise ValueError(f"all networks must see patches of one size, not {sorted(sizes)} px")
        if len(set(names)) < len(names) or "chosen" in names:
            raise ValueError("controls must have different names, none of them 'chosen'")
        for name, train in (("first", self.first.train), ("trial", self.trial), ("ensemble", self.ensemble.train)):
            if train.patch_visits is None:
                raise ValueError(f"the {name} training needs patch_visits: regimes are compared after equal steps")
        if self.ensemble.fusion == "votes" and self.ensemble.votes > self.ensemble.members:
            raise ValueError(f"{self.ensemble.votes} votes of {self.ensemble.members} members cannot be had")
        return self

    @property
    def material(self) -> Material:
        """What its trials share."""
        return Material(
            frame=self.frame,
            margin_px=reach_px(self.augment, self.network.input_px),
            loss=self.loss,
            augment=self.augment,
            peak_um=self.peak_um,
            crop_share=self.crop_share,
            merge_um=self.merge_um,
            keep_above=self.keep_above,
            seed=self.seed,
        )

    @property
    def gathering(self) -> Gathering:
        """How its places are gathered."""
        members = self.ensemble.members
        return Gathering(
            frame=self.frame,
            margin_px=self.material.margin_px,
            proposer=self.proposer,
            patch_px=self.network.input_px,
            truth=self.truth,
            crop_apart_um=self.crop_apart_um,
            hidden=self.hidden,
            unlabelled=self.unlabelled,
            parts=(self.first.parts, *((members,) if members > 1 else ())),
            seed=self.seed,
        )


def run_finegrained(recipe: FineGrainedRecipe, job: Job) -> Detector:
    """Train the ensemble on the fold's training cases; everything is chosen on its validation cases.

    Every trial leaves a file and is skipped when that file is there, so a killed run goes on where it was.

    Returns:
        The detector, which is also in the run's folder `detector`.
    """
    with job.timed("patches"):
        notes = gather(recipe.gathering, job)
    with job.timed("first networks"):
        score_out_of_fold(recipe, job, Regime(unlabelled=0.0), round_number=1)
    with job.timed("search"):
        rounds = search(recipe, job, notes)
        chosen = rounds[-1].best
    with job.timed("controls"):
        controls = run_controls(recipe, job, chosen, round_number=len(rounds))
    report(recipe, job, rounds, controls, notes)
    with job.timed("ensemble"):
        members = train_ensemble(recipe, job, chosen.regime, round_number=len(rounds))
    Ledger.load(job.file(f"ledger-round-{len(rounds)}.parquet")).save(job.file("ledger.parquet"))
    with job.timed("thresholds on validation"):
        return assemble(recipe, job, "detector", members, fused=True)


def _task(recipe: FineGrainedRecipe, job: Job, folder: str, regime: Regime, round_number: int, seed: int) -> TrialTask:
    return TrialTask(
        job=replace(job, progress=None, mapper=None),
        material=recipe.material,
        folder=folder,
        network=recipe.network,
        train=recipe.trial,
        regime=regime,
        scores=f"ledger-round-{round_number}.parquet" if round_number else None,
        seed=seed,
    )


def score_out_of_fold(recipe: FineGrainedRecipe, job: Job, regime: Regime, *, round_number: int) -> None:
    """Score every place of the training slides by networks that have not trained on its slide.

    Unlabelled slides are scored by the mean of all networks: in round 1 none has seen them; in round 2, whose networks
    learn from the unlabelled negatives of the chosen regime, all may have (a note of the run says so).
    """
    path = job.file(f"ledger-round-{round_number}.parquet")
    if path.exists():
        return
    parts = recipe.first.parts
    tasks = [
        replace(
            _task(recipe, job, f"first/round-{round_number}-part-{part + 1}", regime, round_number - 1, part + 1),
            train=recipe.first.train,
            without=(part, parts),
        )
        for part in range(parts)
    ]
    job.each(run_trial, tasks, "first networks")
    train = pool_of(tasks[0], "train")
    part_of = inner_parts(train.places, job.cohort, parts, recipe.seed)
    ledger = Ledger.of(train.places.index.patch_id)
    total = np.zeros(len(train.places))
    for part, task in enumerate(tasks):
        rows = np.flatnonzero((part_of == part) | (part_of < 0))
        total[rows] += train.pool.score(task.load(), rows, job.compute, job.progress)
    ledger.record_mined(np.arange(len(total)), np.where(part_of < 0, total / parts, total))
    ledger.save(path)


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
            _task(recipe, job, f"trials/round-{number}/{regime.name}-seed-{seed}", regime, number, seed)
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
                _task(recipe, job, f"controls/{control.name}-seed-{seed}", regime, round_number, seed),
                network=recipe.network if control.network is None else control.network,
            )
            for seed in seeds
        ]
        made.append((control, job.each(run_trial, tasks, f"control {control.name}")))
        assemble(recipe, job, f"detector-{control.name}", tasks, fused=False)
    name = chosen.regime.name
    folder = f"trials/round-{round_number}/{name}-seed-"
    tasks = [_task(recipe, job, f"{folder}{seed}", chosen.regime, round_number, seed) for seed in seeds]
    assemble(recipe, job, "detector-chosen", tasks, fused=False)
    return made


def train_ensemble(recipe: FineGrainedRecipe, job: Job, regime: Regime, *, round_number: int) -> list[TrialTask]:
    """Networks of the chosen regime, each without another part of the slides."""
    members = recipe.ensemble.members
    tasks = [
        replace(
            _task(recipe, job, f"ensemble/member-{number + 1}", regime, round_number, number + 1),
            train=recipe.ensemble.train,
            without=(number, members) if members > 1 else None,
        )
        for number in range(members)
    ]
    job.each(run_trial, tasks, "ensemble")
    return tasks


def assemble(recipe: FineGrainedRecipe, job: Job, folder: str, tasks: list[TrialTask], *, fused: bool) -> Detector:
    """Networks as one stage behind the proposer, threshold from the validation cases where the recipe says so."""
    network, ensemble = tasks[0].network, recipe.ensemble
    last = 0.5 if recipe.threshold == "validation" else recipe.threshold
    target = store_of(recipe.gathering, job).load_target()
    stage = Stage(
        name="network",
        network=network,
        views="one",
        patch_px=network.input_px,
        threshold=last,
    )
    if fused and ensemble.fusion == "votes":
        stage = stage.model_copy(update={"fusion": "votes", "votes": ensemble.votes, "votes_um": ensemble.votes_um})
    config = DetectorConfig(
        made_by="mitosieve recipe finegrained (a reconstruction)",
        frame=recipe.frame,
        proposer=recipe.proposer,
        stages=(stage,),
        merge_um=recipe.merge_um,
        keep_above=recipe.keep_above,
        stain_target=None if target is None else target.to_json(),
    )
    untuned = Detector(config=config, networks=(tuple(task.load() for task in tasks),))
    return tuned(job, folder, untuned, gate=last, last=recipe.threshold)


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
        job.file("regimes.json"),
        {
            "format": REGIMES_FORMAT,
            "partition": partition(job),
            "rounds": [of_round.to_json() for of_round in rounds],
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
            "cap": cap_report(task, hidden=bool(hidden_slides(recipe.gathering, job))),
            "notes": notes,
        },
    )
