"""Scores of a stage at any place of a frame: what a sieve's answer is held against."""

import numpy as np

from mitosieve.patch.cutting import cut_patches
from mitosieve.sieve import cascade, stages
from mitosieve.sieve.tile_reader import CHUNK


def score_places(stage, networks, frame, centers, compute):
    """Score of one stage at places of a frame, (N,), by `score_images`."""
    parts = [
        stage.view.images(cut_patches(frame, centers[start : start + CHUNK], patch_px=stage.patch_px))
        for start in range(0, len(centers), CHUNK)
    ]
    return np.concatenate([np.zeros(0), *(score_images(stage, networks, images, compute) for images in parts)])


def score_images(stage, networks, images, compute):
    """Score of one stage for its input, (N,): the sigmoid of the mean logit of its networks and turns; of votes, what
    so many of its networks reach at this very place.

    Args:
        stage: says how often the input is turned, and from which score on.
        networks: of the stage.
        images: uint8 (N, s, s, C), as `View.images` gives them.
        compute: machine.
    """
    if stage.fusion == "votes":
        return cascade._agreed(stages._columns(stage, networks, images, compute), stage.votes)
    return stages._mean_score(stage, networks, images, compute)
