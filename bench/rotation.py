"""How much a network's word on a real cell changes when the cell is turned: `python bench/rotation.py [--detector F]`.

Cells are marked figures and imposters of the frames under MITOSIEVE_DATA (by default ../shared/data), those whose
patch lies in its frame however it is turned. A turned patch is cut from the frame by turning about the cell, so its
corners show tissue. Right angles move pixels and change none; 45 degrees interpolate, so beside "45" (against the patch
as it is) stands "22 to 67", 45 degrees apart and both interpolated: what is left when blur is taken out.

Without a detector the networks are freshly initialised, of equal channels times orientations, their batch norms with
the statistics of these cells and their logits spread to deviation 3; every figure is over --seeds networks. Their
kernels are noise and their maxima taken every second pixel, so 45 degrees says little of what training makes of them.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mitosieve import Detector
from mitosieve.geometry import rescale_points
from mitosieve.network.compute import Compute
from mitosieve.network.config import RotoTranslationConfig
from mitosieve.network.rototranslation import RotoTranslationNet
from mitosieve.patch.frames import FrameConfig, look_at, render
from mitosieve.patch.view import View
from mitosieve.slide.slide import open_slide
from mitosieve.slide.stain import StainProfile

DATA = Path(os.environ.get("MITOSIEVE_DATA", Path(__file__).parents[2] / "shared" / "data")) / "mitos14"
MPP = 0.2273
"""um per px of the frames."""
PRODUCTS = (32, 48, 64, 128)
"""Channels times orientations of each group of a fresh network."""
DEGREES = (0.0, 90.0, 45.0, 22.5, 67.5)
CHANGES = {"90": (0, 1), "45": (0, 2), "22 to 67": (3, 4)}


def turned(pixels: NDArray[np.uint8], center: NDArray[np.float64], side: int, degrees: float) -> NDArray[np.uint8]:
    """The patch (side, side, 3) about a place (x, y), turned; at right angles no pixel is interpolated."""
    x, y = np.floor(center) + 0.5  # the middle of an even patch is a corner of pixels
    middle = (side - 1) / 2
    cos, sin = np.round((np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))), 12)
    back = np.array([[cos, -sin, x - middle * (cos - sin)], [sin, cos, y - middle * (sin + cos)]])
    return cv2.warpAffine(pixels, back, (side, side), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)


def cells(cells_at_most: int, view: View, frame: FrameConfig, target: StainProfile | None) -> NDArray[np.uint8]:
    """Patches (cells, turns, side, side, 3) as a network's view cuts them, spread evenly over the marks."""
    marks = pd.read_csv(DATA / "labels.csv")
    marks = marks.iloc[np.unique(np.linspace(0, len(marks) - 1, cells_at_most).astype(int))]
    return np.concatenate(list(_of_frames(marks, view, frame, target)))


def _of_frames(
    marks: pd.DataFrame, view: View, frame: FrameConfig, target: StainProfile | None
) -> Iterator[NDArray[np.uint8]]:
    mpp, side = view.mpp_in(frame.mpp), view.patch_px
    reach = int(np.ceil(side / np.sqrt(2))) + 2
    for name, here in marks.groupby("image"):
        with open_slide(DATA / "frames" / str(name), mpp=MPP) as slide:
            shown = render(slide, slide.bounds, mpp=mpp, margin_px=0, look=look_at(slide, target)).pixels
        at = rescale_points(here[["x", "y"]].to_numpy(float), mpp_from=MPP, mpp_to=mpp)
        height, width = shown.shape[:2]
        inside = (at >= reach).all(axis=1) & (at < np.array([width, height]) - reach).all(axis=1)
        found = [[turned(shown, center, side, degrees) for degrees in DEGREES] for center in at[inside]]
        yield np.array(found, dtype=np.uint8).reshape(-1, len(DEGREES), side, side, 3)


def fresh(orientations: int, images: NDArray[np.uint8], seed: int, compute: Compute) -> nn.Module:
    """A network before training, with statistics and spread logits."""
    torch.manual_seed(seed)
    widths = tuple(product // orientations for product in PRODUCTS)
    network = RotoTranslationNet(RotoTranslationConfig(orientations=orientations, widths=widths, dropout=0.0))
    network = compute.place(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for module in norms:
        module.momentum = 1.0
    with torch.no_grad():
        network.train()(compute.to_tensor(images))
        logit = network.eval()(compute.to_tensor(images))
        scale = 3 / logit.std()
        decision = network.get_submodule("decision")
        decision.weight.mul_(scale)
        decision.bias.copy_((decision.bias - logit.mean()) * scale)
    return network


def logits(network: nn.Module, patches: NDArray[np.uint8], view: View, compute: Compute) -> Tensor:
    """(turns, cells)."""
    network = compute.place(network.eval())
    with torch.inference_mode():
        return torch.stack(
            [
                torch.cat([network(compute.to_tensor(view.images(part))) for part in np.array_split(some, 8)])
                for some in np.ascontiguousarray(patches.swapaxes(0, 1))
            ]
        ).double()


def tell(name: str, rows: list[Tensor]) -> None:
    """Print mean (maximum) absolute change of logit, then of score, for each way of turning."""
    logit = torch.stack(rows, dim=1)
    words = [name]
    for value in (logit, torch.sigmoid(logit)):
        for one, other in CHANGES.values():
            change = (value[one] - value[other]).abs()
            words.append(f"{change.mean():.2g} ({change.max():.2g})")
    print(*words, sep="\t", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", type=Path, help="its last stage's networks, each alone")
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    cv2.setNumThreads(1)
    compute = Compute(device="cpu", precision="32-true")
    if asked.detector is None:
        view, frame, target = View(views="one", patch_px=RotoTranslationConfig().input_px), FrameConfig(mpp=MPP), None
    else:
        detector = Detector.load(asked.detector)
        view, frame, target = detector.config.stages[-1].view, detector.config.frame, detector.stain_target
    patches = cells(asked.cells, view, frame, target)
    print(f"{len(patches)} cells, patches of {view.patch_px} px at {view.mpp_in(frame.mpp):g} um/px")
    print("mean (maximum) absolute change of", *(f"logit {name}" for name in CHANGES), *CHANGES, sep="\t")
    if asked.detector is not None:
        for number, network in enumerate(detector.modules[-1], start=1):
            tell(f"network {number}", [logits(network, patches, view, compute)])
        return
    for orientations in (1, 4, 8, 16):
        networks = (fresh(orientations, patches[:, 0], seed, compute) for seed in range(asked.seeds))
        tell(f"N={orientations}", [logits(network, patches, view, compute) for network in networks])


if __name__ == "__main__":
    main()
