"""Training: what is learned from, the loop, what is kept. What a method is written with is named here.

Inside this room modules import one another directly.
"""

from mitosieve.train.curve import average_precision, validation_curve
from mitosieve.train.feed import Feed, Sampler
from mitosieve.train.job import Job
from mitosieve.train.lesson import BatchConfig, Lesson, Network, classification, fresh
from mitosieve.train.loop import is_kept, learn
from mitosieve.train.objective import Supervised
from mitosieve.train.parts import NO_PART, case_parts, inner_parts, linked, parts_note
from mitosieve.train.places import NO_MARK, Part, Places, note_crops, places_of_fold
from mitosieve.train.pool import SCORED_AT_ONCE, PatchPool, Pools, Room, crop_rooms, curve_rows, render_frames
from mitosieve.train.proposals import CropRule, ProposalRule, TruthConfig, propose
from mitosieve.train.sampler import BalancedSampler, EpochSampler, RatioSampler, balancing_repeats
from mitosieve.train.schedule import StageRecipe, TrainConfig
from mitosieve.train.scores import PoolScores
from mitosieve.train.thresholds import (
    OperatingRule,
    Share,
    ThresholdRule,
    choose_thresholds,
    hand_over,
    keep,
    operating_threshold,
    stained,
)

__all__ = [
    "BalancedSampler",
    "BatchConfig",
    "CropRule",
    "EpochSampler",
    "Feed",
    "Job",
    "Lesson",
    "NO_MARK",
    "NO_PART",
    "Network",
    "OperatingRule",
    "Part",
    "PatchPool",
    "Places",
    "PoolScores",
    "Pools",
    "ProposalRule",
    "RatioSampler",
    "Room",
    "SCORED_AT_ONCE",
    "Sampler",
    "Share",
    "Supervised",
    "StageRecipe",
    "ThresholdRule",
    "TrainConfig",
    "TruthConfig",
    "average_precision",
    "balancing_repeats",
    "hand_over",
    "case_parts",
    "choose_thresholds",
    "classification",
    "crop_rooms",
    "curve_rows",
    "fresh",
    "inner_parts",
    "learn",
    "linked",
    "note_crops",
    "operating_threshold",
    "parts_note",
    "places_of_fold",
    "propose",
    "is_kept",
    "keep",
    "render_frames",
    "stained",
    "validation_curve",
]
