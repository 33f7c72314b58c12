"""Whether the source of a patch can be told, before and after the exchange: `python bench/sources.py COHORT`.

A logistic regression is asked for the source of patches of cases it has not seen (`train.probe`). It is shown simple
statistics of colour, detail and compression, and with `--detector NAME` what the detector's last network has before
its last layer. Per class too: what tells the source among figures alone is no matter of how many figures there are.

    python bench/sources.py cohort --detector RUN/detector

Terms of the data: see bench/all_sources.py.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mitosieve.cohort.cohort import Cohort
from mitosieve.patch.augment.exchange import AMOUNTS, ExchangeConfig, exchange, statistics
from mitosieve.patch.augment.variant import AugmentConfig
from mitosieve.patch.cutting import margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.view import View
from mitosieve.recipe.recipe import load_recipe
from mitosieve.sieve.detector import Detector
from mitosieve.train.appearance import Looks
from mitosieve.train.places import Places
from mitosieve.train.pool import PatchPool, crop_rooms
from mitosieve.train.probe import probe_source
from mitosieve.train.proposals import CropRule, ProposalRule

PATCH_PX, MPP = 64, 0.25
CASES, SLIDES, EACH = 12, 12, 16
"""Cases of a source, slides of a case and places of a slide, at most."""


def chosen(cohort: Cohort) -> Cohort:
    """Some slides of some cases of each source."""
    kept: dict[str, dict[str, list[str]]] = {}
    for entry in cohort.slides:
        if entry.labelled:
            kept.setdefault(entry.source or entry.domain, {}).setdefault(entry.case_id, []).append(entry.slide_id)
    names = {
        slide
        for of_case in kept.values()
        for slides in list(of_case.values())[:: max(1, len(of_case) // CASES)][:CASES]
        for slide in slides[:SLIDES]
    }
    own = np.isin(cohort.annotations.slide_id, sorted(names))
    slides = tuple(entry for entry in cohort.slides if entry.slide_id in names)
    return Cohort(cohort.folder, slides, cohort.annotations[own])


def a_pool(cohort: Cohort, folder: Path) -> PatchPool:
    """Figures and proposed negatives of the slides, in the slides' own colours."""
    recipe = load_recipe("swift")
    dense = {"crop_per_mm2": 5000.0, "crop_apart_um": 6.0, "crop_off_um": 2.0}
    truth = recipe.truth.model_copy(update=dense)
    rule = CropRule.of(cohort, ProposalRule(plan=recipe.plan, truth=truth, imposters=False, near=False))
    store = FrameStore(folder, FrameConfig(mpp=MPP, stain="none"), margin_px=margin_for(PATCH_PX, 8))
    parts: list[Places] = []
    for entry in cohort.slides:
        store.add(entry.slide_id, partial(cohort.open, entry.slide_id), None)
        places = rule.places(cohort, entry)
        by_class = [np.flatnonzero(places.index.label == label)[: EACH // 2] for label in (0, 1)]
        parts.append(places[np.concatenate(by_class)])
    view = View(views="one", patch_px=PATCH_PX)
    rooms = crop_rooms(cohort, MPP, rule.patch_um)
    return PatchPool.of_places(Places.concatenate(parts), store, view, cohort, rooms)


def simple(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Colour, detail and blocks of each patch, (N, D)."""
    rows: list[NDArray[np.float64]] = []
    for patch in patches:
        mean, covariance, detail = statistics(patch[None])
        grey = cv2.cvtColor(patch, cv2.COLOR_RGB2GRAY).astype(np.float64)
        steps = [np.abs(np.diff(grey, 2, axis=axis)).mean(axis=1 - axis) for axis in (0, 1)]
        blocks = [np.max([one[k::8].mean() for k in range(8)]) / one.mean() for one in steps]
        fine = np.log([detail[AMOUNTS.index(0.0)], np.abs(cv2.Laplacian(grey, cv2.CV_64F)).mean() + 0.1])
        rows.append(np.concatenate([mean, np.log(np.diag(covariance)), covariance[[0, 0, 1], [1, 2, 2]], fine, blocks]))
    return np.array(rows)


def penultimate(network: nn.Module) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """What goes into a network's last layer with weights, averaged over its map where it is one."""
    last = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    caught: list[torch.Tensor] = []
    last.register_forward_pre_hook(lambda _, given: caught.append(given[0].detach()))

    def features(patches: NDArray[np.uint8]) -> NDArray[np.float64]:
        found: list[NDArray[np.float64]] = []
        network.eval()
        with torch.no_grad():
            for start in range(0, len(patches), 128):
                caught.clear()
                network(torch.from_numpy(patches[start : start + 128]).permute(0, 3, 1, 2).float() / 255)
                one = caught[-1]
                found.append((one.mean(dim=(2, 3)) if one.ndim == 4 else one).double().numpy())
        return np.concatenate(found)

    return features


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--detector", help="name or folder of a detector whose last stage sees 64 px at 0.25 um/px")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    cohort = chosen(Cohort.load(given.cohort))
    with tempfile.TemporaryDirectory() as folder:
        pool = a_pool(cohort, Path(folder))
        looks = Looks.of_rows(pool, np.arange(len(pool.index)), cohort)
        rows = np.arange(len(pool.index))
        drawn = AugmentConfig(translate_px=8, rotate="right", flip=True).draw(
            len(rows), np.random.default_rng(given.seed)
        )
        before = pool.images(rows, drawn)
        ways = {"as they are": before}
        for name, config in (
            ("exchanged", ExchangeConfig(share=1)),
            ("exchanged in full", ExchangeConfig(share=1, stain=(1, 1), sharpness=(1, 1))),
            ("half of them", ExchangeConfig(share=0.5)),
        ):
            start = time.perf_counter()
            other = looks.draw(rows, config, np.random.default_rng(given.seed))
            ways[name] = exchange(before, other)
            print(f"{name}: {len(rows) / (time.perf_counter() - start):.0f} patches/s")
        start = time.perf_counter()
        pool.images(rows, drawn)
        print(f"read and varied without it: {len(rows) / (time.perf_counter() - start):.0f} patches/s")
    entry = {e.slide_id: e for e in cohort.slides}
    own = [entry[str(name)] for name in pool.index.slide_id]
    source, case = np.array([e.source or e.domain for e in own]), np.array([e.case_id for e in own])
    label = pool.index.label
    for name in np.unique(source):
        print(
            name,
            f"{(label[source == name] == 1).sum()} figures, {(label[source == name] == 0).sum()} negatives",
            sep="\t",
        )
    kinds: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float64]]] = {"statistics": simple}
    if given.detector:
        kinds["penultimate"] = penultimate(Detector.load(given.detector).modules[-1][0])
    for what, features_of in kinds.items():
        for way, patches in ways.items():
            features = features_of(patches)
            for kind, mine in (("all", label >= 0), ("figures", label == 1), ("negatives", label == 0)):
                found = probe_source(features[mine], source[mine], case[mine], np.random.default_rng(given.seed))
                print(
                    f"{what:12s} {way:18s} {kind:10s} accuracy {found.accuracy:.3f}  chance {found.chance:.3f}"
                    f"  {', '.join(found.sources)}"
                )


if __name__ == "__main__":
    main()
