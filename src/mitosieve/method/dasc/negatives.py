"""Negative search, the first stage of DASC (NS): which candidates that are no figure are worth learning from.

A screening network learns figures against random candidates, half of each batch; candidates that it takes for figures
all the same are the negatives. Source: DASC's public code, stages 0 and 1.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.errors import TrainingError
from mitosieve.method.dasc.course import begun
from mitosieve.method.dasc.recipe import DascRecipe
from mitosieve.network.loss import LossConfig
from mitosieve.network.resnet import ResNetCam
from mitosieve.patch.index import Origin
from mitosieve.run import layout
from mitosieve.run.seed import derive_generator
from mitosieve.train import Job, Places, Pools, classification, fresh, learn

CROSS_ENTROPY = LossConfig(kind="cross-entropy")

QUANTILES = (0.1, 0.5, 0.9)
"""Of the screening score of each kind, in the report of the balance."""


def search_negatives(recipe: DascRecipe, job: Job, candidates: Pools) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Rows of the candidates that are worth learning from, ascending, and the screening score (N,) of all.

    Raises:
        TrainingError: the screening network takes no candidate for a figure, and there is no imposter.
    """
    config, places = recipe.search, candidates.train.places
    shape = recipe.network.model_copy(update={"stages": config.stages})
    kinds = {"figures": places.with_origin(Origin.FIGURE), "background": screening_rows(recipe, places)}
    lesson = classification(
        layout.SCREENING,
        begun(fresh(lambda: ResNetCam(shape), recipe.seed, layout.SCREENING), recipe.initial),
        candidates,
        kinds,
        ratio=dict.fromkeys(kinds, 1.0),
        schedule=config.train,
        loss=CROSS_ENTROPY,
        augment=config.augment,
        job=job,
        seed=recipe.seed,
    )
    network = learn(lesson, job)
    score = candidates.train.score(network, np.arange(len(places)), job.compute, job.progress)
    candidate = candidate_rows(recipe, places)
    taken = candidate[score[candidate] > config.threshold]
    if config.most is not None and len(taken) > config.most:
        order = derive_generator(recipe.seed, "false positives").permutation(len(taken))
        taken = taken[np.sort(order[: config.most])]
    chosen = with_marks(recipe, places, taken)
    if not (places.index.label[chosen] == 0).any():
        raise TrainingError(
            f"the screening network takes none of {len(candidate)} candidates for a figure, so nothing is negative",
            where=job.run.path,
            remedy="lower search.threshold, or train the screening network for longer",
        )
    return chosen, score


def random_negatives(recipe: DascRecipe, places: Places, count: int) -> NDArray[np.intp]:
    """Rows like those of `search_negatives`, with `count` negatives beside the imposters drawn at random."""
    candidate = candidate_rows(recipe, places)
    order = derive_generator(recipe.seed, "random negatives").permutation(len(candidate))
    return with_marks(recipe, places, candidate[order[:count]])


def candidate_rows(recipe: DascRecipe, places: Places) -> NDArray[np.intp]:
    """Rows that a search chooses from, ascending: background, and imposters where the recipe does not know them."""
    if recipe.search.imposters:
        return places.with_origin(Origin.BACKGROUND)
    return np.flatnonzero(places.index.origin != Origin.FIGURE.value)


def with_marks(recipe: DascRecipe, places: Places, candidate: NDArray[np.intp]) -> NDArray[np.intp]:
    """These rows, all figures, and the imposters where they are known; ascending."""
    imposters = places.with_origin(Origin.IMPOSTER)[: None if recipe.search.imposters else 0]
    return np.sort(np.concatenate([places.with_origin(Origin.FIGURE), imposters, candidate]))


def screening_rows(recipe: DascRecipe, places: Places) -> NDArray[np.intp]:
    """Candidates that the screening network learns from: of each slide `per_figure` for each of its figures."""
    slides = places.index.slide_id
    candidate = candidate_rows(recipe, places)
    names, figures = np.unique(slides[places.with_origin(Origin.FIGURE)], return_counts=True)
    chosen: list[NDArray[np.intp]] = []
    for name, count in zip(names, figures, strict=True):
        of_slide = candidate[slides[candidate] == name]
        order = derive_generator(recipe.seed, f"screening candidates of {name}").permutation(len(of_slide))
        chosen.append(of_slide[order[: int(count) * recipe.search.per_figure]])
    rows = np.sort(np.concatenate([np.zeros(0, dtype=np.intp), *chosen]))
    return rows if len(rows) else candidate


def balance(
    recipe: DascRecipe, places: Places, chosen: NDArray[np.intp], score: NDArray[np.floating] | None
) -> dict[str, Any]:
    """How many of each kind there are and are kept, and how the screening network scores what is kept."""
    origin = places.index.origin
    counts: dict[str, Any] = {"threshold": recipe.search.threshold if score is not None else None}
    for kind in (Origin.FIGURE, Origin.IMPOSTER, Origin.BACKGROUND):
        kept = chosen[origin[chosen] == kind.value]
        row: dict[str, Any] = {"of": int((origin == kind.value).sum()), "kept": len(kept)}
        if score is not None and len(kept):
            row["score_quantiles"] = [round(float(q), 4) for q in np.quantile(score[kept], QUANTILES)]
        counts[kind.value] = row
    return counts
