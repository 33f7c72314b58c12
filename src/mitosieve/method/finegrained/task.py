"""What one trial is asked: small and picklable, for the pixels and places are files of the run."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mitosieve.method.finegrained.recipe import FineGrainedRecipe
from mitosieve.method.finegrained.regime import Regime, Trial
from mitosieve.network.config import RotoTranslationConfig
from mitosieve.network.registry import build_network, load_weights
from mitosieve.patch.augment.distortion import reach_px
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.sieve.config import Stage
from mitosieve.train import Job, Part, PatchPool, Places, TrainConfig, crop_rooms, inner_parts

NETWORK = layout.NETWORK
"""What the only stage is called, in files and in the detector."""


@dataclass(frozen=True, kw_only=True)
class TrialTask:
    """One trial.

    Attributes:
        job: of the run; its progress is not carried along.
        recipe: of the run.
        folder: of the trial, relative to the run.
        network: its shape.
        schedule: its length and rates.
        regime: which negatives.
        scores: file of the pool's scores, relative to the run; None where nothing is scored yet, and the
            regime must then keep all or choose at random.
        seed: number of the training: equal numbers start from equal weights.
        without: (part, of how many) whose slides it must not learn from; None learns from all.
    """

    job: Job
    recipe: FineGrainedRecipe
    folder: str
    network: RotoTranslationConfig
    schedule: TrainConfig
    regime: Regime
    scores: str | None
    seed: int
    without: tuple[int, int] | None = None

    @property
    def stage(self) -> Stage:
        """The only stage of a detector of this network; its threshold is nobody's choice yet."""
        return stage_of(self.network)

    @property
    def place(self) -> Path:
        return self.job.file(self.folder)

    @property
    def weights(self) -> Path:
        return self.place / layout.weights_of(NETWORK)

    @property
    def is_done(self) -> bool:
        return (self.place / layout.TRIAL_RESULT).exists()

    def result(self) -> Trial:
        """What a finished trial found."""
        return Trial.from_json(json.loads((self.place / layout.TRIAL_RESULT).read_text()))

    def load(self) -> nn.Module:
        """Its trained network."""
        return load_weights(build_network(self.network), self.weights)


def stage_of(network: RotoTranslationConfig) -> Stage:
    """The only stage of a detector of networks of this shape."""
    return Stage(name=NETWORK, network=network, views="one", patch_px=network.input_px)


def pool_of(task: TrialTask, part: Part) -> PatchPool:
    """The places of a part of the fold from the run's files, as the trial's network sees them."""
    recipe, cohort = task.recipe, task.job.cohort
    view = task.stage.view
    rooms = crop_rooms(cohort, recipe.frame.mpp, view.patch_px * recipe.frame.mpp)
    return PatchPool.of_places(
        _places_of(task.job.file(layout.places_of(part))), frame_store(recipe, task.job), view, cohort, rooms
    )


def _places_of(path: Path) -> Places:
    """As the file is now; read once by all trials of a process."""
    stat = path.stat()
    return _load_places(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4)
def _load_places(path: Path, size: int, mtime_ns: int) -> Places:
    del size, mtime_ns  # they tell the file of another training in the same folder
    return Places.load(path)


def frame_store(recipe: FineGrainedRecipe, job: Job) -> FrameStore:
    """The rendered frames of the run."""
    margin_px = reach_px(recipe.augment, recipe.network.input_px)
    return FrameStore(job.file(layout.FRAMES), recipe.frame, margin_px=margin_px, tissue=recipe.proposer.tissue)


def parts_of(task: TrialTask, places: Places, parts: int) -> NDArray[np.int64]:
    """Inner part of each place, (N,); unlabelled ones are in none: every network may learn from them."""
    labelled = places.index.origin != Origin.UNLABELLED.value
    return inner_parts(places.index.slide_id, task.job.cohort.case_of, parts, task.recipe.seed, held=labelled)


def seen_by(task: TrialTask, places: Places) -> NDArray[np.bool_]:
    """Places of slides that a trial may learn from, (N,)."""
    if task.without is None:
        return np.ones(len(places), dtype=bool)
    part, parts = task.without
    return parts_of(task, places, parts) != part
