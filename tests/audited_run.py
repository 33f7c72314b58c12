"""A run folder as recipe `dasc` leaves it, made by hand: a phantom cohort, and records drawn by lot."""

import json

import numpy as np
import pandas as pd

from mitosieve import Cohort
from mitosieve.annotation import Label
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.phantom import PhantomConfig, make_phantom
from mitosieve.run.folder import RUN_FORMAT

FOLD = {"name": "A", "train": ["case01", "case02"], "validation": ["case03"], "test": ["case04"]}
EPOCHS, BACKGROUND, DIMENSIONS = 7, 12, 6


def a_phantom(folder):
    """Four cases of one small slide each, with expert scores."""
    config = PhantomConfig(
        cases=4, slides_per_case=1, size_px=(400, 400), figures_per_mm2=420, imposters_per_mm2=500, flipped=0.1
    )
    cohort = make_phantom(folder, config, np.random.default_rng(3))
    marks = cohort.annotations
    marks.score[:] = np.where(marks.label == Label.MITOTIC_FIGURE.value, 0.8, 0.2)
    marks.score[0] = np.nan
    cohort.save()
    return Cohort.load(folder)


def an_index(cohort, generator):
    """Places of the training slides, shuffled; and the row of the mark of each."""
    parts, marks = [], []
    for entry in cohort.of_cases(tuple(FOLD["train"])).slides:
        for origin, label in ((Origin.FIGURE, Label.MITOTIC_FIGURE), (Origin.IMPOSTER, Label.IMPOSTER)):
            of_slide = cohort.annotations.slide_id == entry.slide_id
            rows = np.flatnonzero(of_slide & (cohort.annotations.label == label.value))
            centers = np.round(cohort.annotations.center_l0[rows])
            parts.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=centers, origin=origin, mpp=0.25))
            marks.append(rows)
        centers = generator.uniform(-3, 400, (BACKGROUND, 2))
        parts.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=centers, origin=Origin.BACKGROUND, mpp=0.25))
        marks.append(np.full(BACKGROUND, -1))
    order = generator.permutation(sum(map(len, parts)))
    return PatchIndex.concatenate(parts)[order], np.concatenate(marks)[order]


def a_dasc_run(folder, cohort, *, seed=0):
    """The run; returns its folder."""
    generator = np.random.default_rng(seed)
    index, mark = an_index(cohort, generator)
    n = len(index)
    folder.mkdir(parents=True)
    provenance = {"fold": FOLD, "cohort": str(cohort.folder.resolve()), "cohort_hash": cohort.hash()}
    (folder / "run.json").write_text(json.dumps({"format": RUN_FORMAT, "kind": "train", "provenance": provenance}))
    ids = {"patch_id": index.patch_id}
    x, y = index.center_l0.T
    labels = {"slide_id": index.slide_id, "x": x, "y": y, "origin": index.origin, "label": index.label, "mark": mark}
    verdict = generator.choice(["clean", "hard", "noise"], n)
    verdicts = {
        "verdict": verdict,
        "level": np.where(verdict == "hard", generator.integers(1, 4, n), np.where(verdict == "clean", 0, -1)),
        "learnable": generator.random(n) < 0.8,
        "kept": verdict != "noise",
        "forget_rate": generator.random(n),
        "centroid_rate": generator.random(n),
        "suspicion": np.round(generator.random(n), 1),  # with ties
    }
    score = np.clip(index.label * 0.4 + generator.random(n) * 0.6, 0, 1)
    history = generator.random((EPOCHS, n)).astype(np.float16)
    history[2, ::3] = np.nan
    history[:, 0] = np.nan
    z = generator.normal(size=(n, DIMENSIONS))
    z[n // 2 :] = z[: n - n // 2]  # equal vectors: equally near
    z = (z / np.linalg.norm(z, axis=1, keepdims=True)).astype(np.float16)
    tables = {
        "labels": labels,
        "memory": {"seen": np.full(n, EPOCHS)},
        "verdicts": verdicts,
        "out-of-fold": {"score": score},
    }
    for name, columns in tables.items():
        pd.DataFrame(ids | columns).to_parquet(folder / f"{name}.parquet")
    np.savez(folder / "memory-history.npz", fused=history)
    np.savez(folder / "embedding.npz", patch_id=index.patch_id, z=z)
    return folder
