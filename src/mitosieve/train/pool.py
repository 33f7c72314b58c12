"""The patches a method learns from: frames, index and reader of a set of cases, and the batches made of them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.errors import CohortError
from mitosieve.geometry import px_from_um, rescale_points, um_from_px
from mitosieve.network.compute import Compute, predict
from mitosieve.network.loss import LossConfig, per_sample_loss
from mitosieve.patch.augment.distortion import Distortion, DistortionConfig, draw_distortions
from mitosieve.patch.augment.variant import AugmentConfig, Variant, draw_variants
from mitosieve.patch.frames import FrameStore, fit_target
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.patch.view import View
from mitosieve.run.progress import Progress
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.propose.windows import WindowConfig, negative_centers
from mitosieve.train.job import Job
from mitosieve.train.objective import Batch
from mitosieve.train.sampler import RatioSampler

SCORED_AT_ONCE = 256
"""Patches that go through a network at once when a pool is scored."""

FigureVariants = Callable[[str, int], tuple[NDArray[np.float64], NDArray[np.float64]]]
"""(slide_id, number of the figure) -> shift_px (V, 2) and angle_deg (V,) of its fixed variants."""


@dataclass(frozen=True, kw_only=True)
class PatchPool:
    """Figures and background of a set of cases.

    Attributes:
        index: the places.
        reader: their pixels.
        view: how a network sees them.
    """

    index: PatchIndex
    reader: PatchReader
    view: View = field(default_factory=View)

    @property
    def figures(self) -> NDArray[np.intp]:
        return self.index.with_origin(Origin.FIGURE)

    @property
    def background(self) -> NDArray[np.intp]:
        return self.index.with_origin(Origin.BACKGROUND)

    def images(self, rows: NDArray[np.intp], variant: Variant | Distortion) -> NDArray[np.uint8]:
        """A network's input for rows, each under its own variant, uint8 (B, s, s, C)."""
        return self.view.images(self.reader.read(rows, variant))

    def score(
        self, network: nn.Module, rows: NDArray[np.intp], compute: Compute, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Probability of "mitotic figure" for rows as they stand in the index, (N,)."""

        def batches() -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(rows), SCORED_AT_ONCE):
                some = rows[start : start + SCORED_AT_ONCE]
                if progress is not None:
                    progress("scored", start + len(some), len(rows))
                yield self.images(some, Variant.plain(len(some)))

        return predict(network, batches(), compute)


def make_pool(
    cohort: Cohort,
    cases: tuple[str, ...],
    store: FrameStore,
    windows: WindowConfig,
    variants: FigureVariants | None = None,
) -> PatchPool:
    """Index the labelled slides of `cases`: every figure with its variants, and every window that may be negative.

    Where a slide has a ROI, windows must lie wholly inside it: outside nothing is known.

    Raises:
        CohortError: there is no figure, or no background, in these cases.
    """
    part = cohort.of_cases(cases)
    pieces: list[PatchIndex] = []
    for entry in part.slides:
        if entry.labelled:
            pieces += _places_of(part, entry, store, windows, variants)
    index = PatchIndex.concatenate(pieces) if pieces else None
    for origin in (Origin.FIGURE, Origin.BACKGROUND):
        if index is None or len(index.with_origin(origin)) == 0:
            raise CohortError(
                f"the cases {', '.join(cases)} have no {origin.value} to learn from",
                where=cohort.folder,
                remedy="move a case with labelled figures into this part of the fold",
            )
    assert index is not None
    _, first = np.unique(index.patch_id, return_index=True)
    index = index[np.sort(first)]
    mpp_l0 = {entry.slide_id: entry.mpp for entry in part.slides}
    reader = PatchReader(index, store, mpp_l0, patch_px=windows.patch_px)
    return PatchPool(index=index, reader=reader, view=View(patch_px=windows.patch_px))


def render_frames(job: Job, *stores: FrameStore, unlabelled: bool = False) -> None:
    """Fit the stain on training slides and render the slides of train and validation; test slides are not opened.

    Args:
        job: of the run.
        stores: one for each resolution that a network sees; they must agree about the stain.
        unlabelled: render the unlabelled training slides too; the stain is that of the labelled ones all the same.
    """
    of_train = job.cohort.of_cases(job.fold.train).slides
    train_slides = [entry.slide_id for entry in of_train if entry.labelled]
    more = [entry.slide_id for entry in of_train if unlabelled and not entry.labelled]
    held_out = [entry.slide_id for entry in job.cohort.of_cases(job.fold.validation).slides if entry.labelled]
    first = stores[0]
    try:
        target = first.load_target()
    except FileNotFoundError:
        openers = [partial(job.cohort.open, slide_id) for slide_id in train_slides]
        target = fit_target(openers) if first.config.stain == "macenko" else None
        first.save_target(target)
    everything = [*train_slides, *more, *held_out]
    for number, slide_id in enumerate(everything, start=1):
        for store in stores:
            store.add(slide_id, partial(job.cohort.open, slide_id), target)
        if job.progress is not None:
            job.progress("frames", number, len(everything))


def _places_of(
    cohort: Cohort, entry: SlideEntry, store: FrameStore, windows: WindowConfig, variants: FigureVariants | None
) -> list[PatchIndex]:
    """Index pieces of one slide: figures, then background."""
    mpp = store.config.mpp
    figures_l0 = cohort.annotations.of_slide(entry.slide_id).with_label(Label.MITOTIC_FIGURE).center_l0
    pieces: list[PatchIndex] = []
    for number, center in enumerate(figures_l0):
        shift, angle = (np.zeros((1, 2)), np.zeros(1)) if variants is None else variants(entry.slide_id, number)
        shift_l0 = px_from_um(1, entry.mpp) * um_from_px(1, mpp) * shift
        pieces.append(
            PatchIndex.of(
                slide_id=entry.slide_id, center_l0=center + shift_l0, origin=Origin.FIGURE, mpp=mpp, angle_deg=angle
            )
        )
    figures_px = rescale_points(figures_l0, mpp_from=entry.mpp, mpp_to=mpp)
    centers_px = negative_centers(store.size_px(entry.slide_id), figures_px, windows)
    centers_l0 = rescale_points(centers_px, mpp_from=mpp, mpp_to=entry.mpp)
    roi = entry.roi
    if roi is not None:
        inner = roi.buffer(-windows.patch_px / 2 * mpp / entry.mpp)
        centers_l0 = centers_l0[shapely.contains_xy(inner, centers_l0[:, 0], centers_l0[:, 1])]
    pieces.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=centers_l0, origin=Origin.BACKGROUND, mpp=mpp))
    return pieces


@dataclass(frozen=True, kw_only=True)
class PatchFeed:
    """Batches of a pool by step; the same step always gives the same batch.

    Attributes:
        name: of the training; names the random stream.
        pool: where from.
        sampler: which rows.
        augment: how they are varied.
        fixed_figures: whether figures come in fixed variants that are in the index already.
        seed: of the run.
    """

    name: str
    pool: PatchPool
    sampler: RatioSampler
    augment: AugmentConfig | DistortionConfig
    fixed_figures: bool
    seed: int

    def batch(self, step: int) -> Batch:
        rows = self.sampler.rows(step)
        label = self.pool.index.label[rows]
        generator = derive_generator(self.seed, f"{self.name} variants", step)
        if isinstance(self.augment, DistortionConfig):
            variant = draw_distortions(len(rows), self.augment, generator)
        else:
            varied = np.where(label == 1, not self.fixed_figures, self.augment.negatives)
            variant = draw_variants(len(rows), self.augment, generator).only(varied)
        return Batch(image=self.pool.images(rows, variant), target=label.astype(np.float32), row=rows)


def screening_table(
    score_figures: NDArray[np.floating], score_background: NDArray[np.floating], threshold: float
) -> dict[str, Any]:
    """What a screening network keeps of its training patches: a row of the paper's table 2.

    "Positive" are figure variants, "negative" background windows; a score above `threshold` is kept (section 3.1.1).
    """
    tp, fp = int((score_figures > threshold).sum()), int((score_background > threshold).sum())
    fn, tn = len(score_figures) - tp, len(score_background) - fp
    return {
        "threshold": threshold,
        "TP": tp,
        "FN": fn,
        "FP": fp,
        "TN": tn,
        "recall_positive": tp / max(1, tp + fn),
        "recall_negative": tn / max(1, tn + fp),
        "precision": tp / max(1, tp + fp),
        "F1": 2 * tp / max(1, 2 * tp + fp + fn),
    }


def validation_judge(
    pool: PatchPool, rows: NDArray[np.intp], loss: LossConfig, compute: Compute
) -> Callable[[nn.Module], dict[str, float]]:
    """A function that judges a network on fixed validation patches, for the curves: mean loss and average precision."""
    target = pool.index.label[rows]

    def judge(network: nn.Module) -> dict[str, float]:
        score = pool.score(network, rows, compute)
        clipped = np.clip(score.astype(np.float64), 1e-7, 1 - 1e-7)
        logit = torch.from_numpy(np.log(clipped / (1 - clipped)))
        value = per_sample_loss(logit, torch.from_numpy(target.astype(np.float64)), loss).mean()
        return {
            "validation_loss": round(float(value), 6),
            "validation_average_precision": round(average_precision(target, score), 6),
        }

    return judge


def average_precision(target: NDArray[np.integer], score: NDArray[np.floating]) -> float:
    """Mean over the figures of the precision at their score, ties counted against them; 0 without figures."""
    order = np.argsort(-score, kind="stable")
    ranked, hits = score[order], target[order] > 0
    if not hits.any():
        return 0.0
    last_of_tie = np.searchsorted(-ranked, -ranked, side="right")
    found = np.cumsum(hits)[last_of_tie - 1]
    return float((found / last_of_tie)[hits].mean())
