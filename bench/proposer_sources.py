"""How many figures of every source a proposer names, at what density and price: `bench/proposer_sources.py DATA`.

DATA is the folder of real sets (frames of four, crops of three). Two proposers side by side, at some densities: that of
the published recipes (`NucleiProposer()`) and `TRAVELLING`.

Frames: each is a slide, looked at by a detector's tile reader. Told are the recall within 7.5 um of a place as named
and within 4 um once settled, places per mm2 of tissue and of the field, what is left out as glass, and processor time.

Crops: each case is a slide made of its crops, whose surroundings repeat mirrored. As many spots of it are named as the
density asks for, not counting those on a figure, of which crops are full; told is the share of crops whose central
figure is not named, by domain. TCGA's crops are of unknown cases: there a crop competes with those of all slides.
"""

import argparse
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.geometry import rescale_points
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.nuclei import TRAVELLING, NucleiProposer
from mitosieve.sieve.propose.spots import COARSE_PX, ContrastConfig, contrast_maxima, reach_px
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.slide.plain import PlainSlide

FRAMES = {"brecahad": 0.25, "aperio_a03": 0.2456, "icpr12": 0.2456, "mitos14": 0.2273}
"""um per px as the sets state it; BreCaHAD's is a guess."""

CROPS = ("amibr", "atnorm_md", "atnorm_br")
CROP_MPP = 0.25
"""Where a set of crops does not state it."""

NEAR_UM = 7.5
FIGURE = "mitotic figure"


def with_density(proposer: NucleiProposer, per_mm2: float) -> NucleiProposer:
    return proposer.model_copy(update={"contrast": proposer.contrast.model_copy(update={"per_mm2": per_mm2})})


def tried() -> dict[str, NucleiProposer]:
    """The proposers, by name."""
    published = NucleiProposer()
    full = with_density(published.model_copy(update={"tissue": TRAVELLING.tissue}), 2000.0)
    travelling = {f"travelling {per:.0f}": with_density(TRAVELLING, per) for per in (1300.0, 1600.0, 2000.0)}
    return {"published 1600": published, "published 2000, tissue": full} | travelling


@dataclass
class Tally:
    """What one proposer named on the frames of one set."""

    named_um: list[float] = field(default_factory=list)
    settled_um: list[float] = field(default_factory=list)
    places: int = 0
    tissue_mm2: float = 0.0
    field_mm2: float = 0.0
    seconds: float = 0.0
    proposing: float = 0.0

    def line(self) -> str:
        named, settled = np.array(self.named_um), np.array(self.settled_um)
        return (
            f"{(named <= NEAR_UM).sum():4d} of {len(named):3d} ({(named <= NEAR_UM).mean():.4f}); settled within 4 um "
            f"{(settled <= 4).mean():.3f}; {self.places / self.tissue_mm2:5.0f} per mm2 of tissue, "
            f"{self.places / self.field_mm2:5.0f} of field; glass {self.field_mm2 - self.tissue_mm2:5.2f} of "
            f"{self.field_mm2:5.2f} mm2; {1e3 * self.proposing / self.field_mm2:3.0f} ms per mm2 to propose, "
            f"with survey and reading {1e3 * self.seconds / self.field_mm2:3.0f} "
            f"({self.field_mm2 / self.seconds:.1f} mm2/s)"
        )


def points_of(marks: pd.DataFrame) -> NDArray[np.float64]:
    """x, y of marks in level-0 px, (N, 2)."""
    return np.stack([marks[axis].to_numpy(dtype=float) for axis in ("x", "y")], axis=1)


def away_um(places: NDArray[np.float64], figures: NDArray[np.float64], mpp: float) -> NDArray[np.float64]:
    """Distance of each figure to the nearest place; infinite where there is none."""
    apart = np.linalg.norm(places[:, None] - figures[None], axis=2) * mpp
    return apart.min(axis=0, initial=np.inf)


def look(slide: PlainSlide, figures_l0: NDArray[np.float64], proposer: NucleiProposer, tally: Tally) -> None:
    """Name the places of one frame as a detector does."""
    views = (View(views="one", patch_px=32, mpp=0.5),)
    plan = Plan(frame=FrameConfig(stain="none"), proposer=proposer, views=views, reach_um=0.0, stain_target=None)
    start = time.process_time()
    reader = TileReader(slide, plan, survey(slide, plan))
    cores = [core for band in reader.bands() for core in band]
    named = [reader.places(core) for core in cores]
    tally.seconds += time.process_time() - start
    tally.proposing += reader.clock.seconds["propose"]
    settled = [reader.settle(core, places) for core, places in zip(cores, named, strict=True)]
    figures = rescale_points(figures_l0, mpp_from=slide.mpp, mpp_to=plan.frame.mpp)
    none = np.zeros((0, 2))
    tally.named_um += away_um(np.concatenate([none, *named]), figures, plan.frame.mpp).tolist()
    tally.settled_um += away_um(np.concatenate([none, *settled]), figures, plan.frame.mpp).tolist()
    tally.places += sum(map(len, named))
    tally.tissue_mm2 += reader.survey.tissue.area_mm2
    tally.field_mm2 += slide.bounds.area_px2 * slide.mpp**2 / 1e6


def print_frames(data: Path) -> None:
    for name, mpp in FRAMES.items():
        marks = pd.read_csv(data / name / "labels.csv").query("label == @FIGURE")
        tallies = {row: Tally() for row in tried()}
        for path in sorted((data / name / "frames").iterdir()):
            pixels = np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
            slide = PlainSlide(slide_id=path.stem, path=path, mpp=mpp, pixels=pixels)
            figures = points_of(marks[marks.image == path.name])
            for row, proposer in tried().items():
                look(slide, figures, proposer, tallies[row])
        print(name)
        for row, tally in tallies.items():
            print(f"  {row:24s} {tally.line()}", flush=True)


@dataclass(frozen=True)
class Crop:
    """A crop at the plane's resolution, mirrored all round; its figures (the central one first) in px of the plane."""

    domain: str
    case: str
    plane: NDArray[np.uint8]
    margin: int
    figures: NDArray[np.float64]
    area_mm2: float


def crops_of(data: Path, name: str, config: ContrastConfig) -> Iterator[Crop]:
    """Crops with a figure; black padding becomes glass and counts for no area."""
    table = pd.read_csv(data / name / "labels.csv").rename(columns={"patch": "image"})
    for image, rows in table.groupby("image", sort=False):
        marks = rows[rows.label == FIGURE]
        if marks.empty:
            continue
        points = points_of(marks)
        if "centre" in marks:
            points = points[np.argsort(-marks["centre"].to_numpy(dtype=float), kind="stable")]
        pixels = np.asarray(cv2.imread(str(data / name / "patches" / str(image)), cv2.IMREAD_COLOR_RGB), np.uint8)
        black = pixels.max(axis=2) < 8
        row, column = black.mean(axis=1) > 0.9, black.mean(axis=0) > 0.9
        pixels[row] = pixels[:, column] = 235
        mpp = float(rows.mpp.iloc[0]) if "mpp" in rows else CROP_MPP
        slide = PlainSlide(slide_id="crop", path=data, mpp=mpp, pixels=pixels)
        margin = -(-reach_px(config) // COARSE_PX) * COARSE_PX
        small = slide.read(slide.bounds, config.mpp)
        plane = np.asarray(
            cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_REFLECT), dtype=np.uint8
        )
        figures = rescale_points(points, mpp_from=mpp, mpp_to=config.mpp) + margin
        kind = " ".join(str(rows[key].iloc[0]) for key in ("domain", "scanner") if key in rows)
        area = float((~row).sum() * (~column).sum()) * mpp**2 / 1e6
        yield Crop(f"{name} {kind}".strip(), str(rows.case.iloc[0]), plane, margin, figures, area)


def spots_of(crop: Crop, config: ContrastConfig) -> tuple[float, NDArray[np.float32]]:
    """Contrast of the strongest spot on the central figure (minus infinity: none), and of all spots on no figure."""
    center, value = contrast_maxima(crop.plane, config)
    inside = (center >= crop.margin - 0.5).all(axis=1)
    inside &= (center < np.array(crop.plane.shape[1::-1]) - crop.margin - 0.5).all(axis=1)
    center, value = center[inside], value[inside]
    apart = np.linalg.norm(center[:, None] - crop.figures[None], axis=2) * config.mpp
    return float(value[apart[:, 0] <= NEAR_UM].max(initial=-np.inf)), value[(apart > NEAR_UM).all(axis=1)]


def missed(crops: list[Crop], proposer: NucleiProposer) -> int:
    """Crops of one case whose central figure is not among what the case's density leaves."""
    found = [spots_of(crop, proposer.contrast) for crop in crops]
    others = np.sort(np.concatenate([value for _, value in found]))[::-1]
    asked = math.ceil(proposer.contrast.per_mm2 * sum(crop.area_mm2 for crop in crops))
    cut = float(others[asked - 1]) if asked <= len(others) else 0.0
    return sum(mine < cut or mine == -np.inf for mine, _ in found)


def print_crops(data: Path, one_in: int) -> None:
    rows = tried()
    reach = max((one.contrast for one in rows.values()), key=reach_px)
    cases: dict[tuple[str, str], list[Crop]] = {}
    for name in CROPS:
        for number, crop in enumerate(crops_of(data, name, reach)):
            if number % one_in == 0:
                cases.setdefault((crop.domain, crop.case), []).append(crop)
    print("missed central figures of crops, by domain: " + ", ".join(rows))
    for domain in dict.fromkeys(of for of, _ in cases):
        mine = [crops for (of, _), crops in cases.items() if of == domain]
        total = sum(map(len, mine))
        shares = "  ".join(f"{sum(missed(crops, one) for crops in mine) / total:.4f}" for one in rows.values())
        print(f"  {domain:52s} {total:5d} crops  {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the real sets")
    parser.add_argument("--one-in", type=int, default=1, help="look at every N-th crop")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print_frames(options.data)
    print_crops(options.data, options.one_in)


if __name__ == "__main__":
    main()
