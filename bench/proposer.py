"""How many figures the proposer finds at which density: `python bench/proposer.py cohorts/mitos14 [more cohorts]`.

Each slide gets its own cut, as in detection. Aim on all of MITOS-ATYPIA-14: recall within 7.5 um at least 0.996 at
1,600 spots per mm2 of tissue or fewer, at most 45 ms per mm2. The scales were chosen on these same 512 figures (not on
their imposters) and on crops of three other scanners and TUPAC16 (`--crops FOLDER` with labels.csv and patches/), so
neither figure says what the rest of the field will give.

`--kind components` measures DASC's candidates alone, as a detector's tile reader names them; `--frames 60` on that many
slides with figures, in turn from every case. For all sources side by side see `bench/proposer_sources.py`.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.geometry import lattice, rescale_points
from mitosieve.patch.frames import FrameConfig
from mitosieve.patch.view import View
from mitosieve.sieve.plan import Plan
from mitosieve.sieve.propose.haematoxylin import ComponentConfig, find_components, nucleus_threshold
from mitosieve.sieve.propose.proposer import ComponentProposer
from mitosieve.sieve.propose.spots import (
    COARSE_PX,
    ContrastConfig,
    contrast_cut,
    contrast_maxima,
    reach_px,
    recentre,
)
from mitosieve.sieve.tile_reader import TileReader, survey
from mitosieve.slide.overview import look_over
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.slide import Slide
from mitosieve.slide.tissue import background_color, tissue_mask

DENSITIES = (400, 600, 800, 1000, 1200, 1400, 1600)
RADII_UM = (7.5, 5.0, 4.0, 3.0)
OVERVIEW_MPP = 8.0
COMPONENTS = {
    "training": ComponentConfig(),
    "inference": ComponentConfig(min_area_um2=0.4375, merge_um=2.5),
}


@dataclass
class Tally:
    """What was seen of all slides of a cohort."""

    area_mm2: float = 0.0
    read_mm2: float = 0.0
    spots: int = 0
    distances: dict[tuple[int, str], list[NDArray[np.float64]]] = field(default_factory=dict)
    components: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add_time(self, part: str, since: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + time.process_time() - since


def nearest_um(places: NDArray[np.float64], figures: NDArray[np.float64], mpp: float) -> NDArray[np.float64]:
    """Distance of each figure to the nearest place; infinite where there is none."""
    if len(places) == 0:
        return np.full(len(figures), np.inf)
    return np.linalg.norm(places[:, None] - figures[None], axis=2).min(axis=0) * mpp


def plane_of(slide: Slide, mpp: float, margin: int) -> tuple[NDArray[np.uint8], int]:
    """The whole slide with glass round it, and the width of the glass, a multiple of COARSE_PX."""
    margin = -(-margin // COARSE_PX) * COARSE_PX
    glass = [int(value) for value in background_color(slide.read_l0(slide.bounds))]
    pixels = slide.read(slide.bounds, mpp)
    return cv2.copyMakeBorder(pixels, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=glass), margin


def on_slide(places: NDArray[np.float64], slide: Slide, mpp: float) -> NDArray[np.bool_]:
    whole = lattice(slide.bounds, mpp_l0=slide.mpp, mpp=mpp)
    return (places >= -0.5).all(axis=1) & (places < np.array([whole.w, whole.h]) - 0.5).all(axis=1)


def look_for_spots(slide: Slide, figures_l0: NDArray[np.float64], config: ContrastConfig, tally: Tally) -> None:
    plane, margin = plane_of(slide, config.mpp, reach_px(config))
    start = time.process_time()
    center, value = contrast_maxima(plane, config)
    tally.add_time("contrast maxima", start)
    mine = on_slide(center - margin, slide, config.mpp)
    center, value = center[mine], value[mine]
    tissue = tissue_mask(slide.read(slide.bounds, OVERVIEW_MPP))
    read = slide.bounds.area_px2 * slide.mpp**2 / 1e6
    area = float(tissue.mean()) * read
    figures = rescale_points(figures_l0, mpp_from=slide.mpp, mpp_to=config.mpp) + margin
    for density in DENSITIES:
        cut = contrast_cut([value], area, config.model_copy(update={"per_mm2": float(density)}))
        chosen = center[value >= cut]
        start = time.process_time()
        moved = recentre(plane, chosen, config)
        if density == DENSITIES[-1]:
            tally.add_time(f"re-centring at {density} per mm2", start)
        for name, places in (("as found", chosen), ("re-centred", moved)):
            tally.distances.setdefault((density, name), []).append(nearest_um(places, figures, config.mpp))
    tally.spots += len(center)
    tally.area_mm2 += area
    tally.read_mm2 += read


def look_for_components(slide: Slide, figures_l0: NDArray[np.float64], tally: Tally) -> None:
    for name, config in COMPONENTS.items():
        plane = slide.read(slide.bounds, config.mpp)
        figures = rescale_points(figures_l0, mpp_from=slide.mpp, mpp_to=config.mpp)
        start = time.process_time()
        found = find_components(plane, nucleus_threshold([plane], config), config)
        tally.add_time(f"components, {name}", start)
        near = int((nearest_um(found.center_px, figures, config.mpp) <= 7.5).sum())
        count, hit = tally.components.get(name, (0, 0))
        tally.components[name] = (count + len(found), hit + near)


def read_for_components(slide: Slide, figures_l0: NDArray[np.float64], tally: Tally) -> None:
    """As in detection: the survey's threshold, tiles, places near tissue alone."""
    for name, components in COMPONENTS.items():
        proposer = ComponentProposer(components=components)
        view = View(views="one", patch_px=80)
        plan = Plan(frame=FrameConfig(), proposer=proposer, views=(view,), reach_um=0.0, stain_target=None)
        reader = TileReader(slide, plan, survey(slide, plan))
        start = time.process_time()
        found = np.concatenate([np.zeros((0, 2)), *(reader.places(core) for band in reader.bands() for core in band)])
        tally.add_time(f"read and components, {name}", start)
        figures = rescale_points(figures_l0, mpp_from=slide.mpp, mpp_to=plan.frame.mpp)
        tally.distances.setdefault((0, name), []).append(nearest_um(found, figures, plan.frame.mpp))
        count, _ = tally.components.get(name, (0, 0))
        tally.components[name] = (count + len(found), 0)
    tally.area_mm2 += look_over(slide).tissue.area_mm2
    tally.read_mm2 += slide.bounds.area_px2 * slide.mpp**2 / 1e6


def some_slides(cohort: Cohort, most: int | None) -> list[SlideEntry]:
    """At most so many slides that hold figures, in turn one of every case, evenly spread; None is all."""
    if most is None:
        return list(cohort.slides)
    marks = cohort.annotations
    holding = set(marks.slide_id[marks.label == Label.MITOTIC_FIGURE].tolist())
    turns: list[tuple[int, SlideEntry]] = []
    for case in sorted({entry.case_id for entry in cohort.slides}):
        mine = [entry for entry in cohort.slides if entry.case_id == case and entry.slide_id in holding]
        order = sorted(range(len(mine)), key=lambda number: f"{number:b}"[::-1].ljust(32, "0"))  # any start is spread
        turns += [(turn, mine[number]) for turn, number in enumerate(order)]
    return [entry for _, entry in sorted(turns, key=lambda pair: pair[0])[:most]]


def measure_components(cohort: Cohort, most: int | None) -> Tally:
    tally = Tally()
    marks = cohort.annotations
    for entry in some_slides(cohort, most):
        mine = (marks.slide_id == entry.slide_id) & (marks.label == Label.MITOTIC_FIGURE)
        with cohort.open(entry.slide_id) as slide:
            read_for_components(slide, marks.center_l0[mine], tally)
    return tally


def print_components(name: str, tally: Tally) -> None:
    print(f"{name}: {tally.area_mm2:.1f} mm2 of tissue, {tally.read_mm2:.1f} mm2 read")
    for kind, (count, _) in tally.components.items():
        distance = np.concatenate(tally.distances[0, kind])
        seconds = tally.seconds[f"read and components, {kind}"]
        density = count / tally.area_mm2
        near = ", ".join(
            f"{(distance <= radius).mean():.4f} within {radius:g} um "
            f"({1 - np.exp(-density * 1e-6 * np.pi * radius**2):.2f} by chance)"
            for radius in RADII_UM
        )
        print(
            f"{kind}: {density:.0f} per mm2; of {len(distance)} figures {near}, median "
            f"{np.median(distance):.2f} um; {tally.read_mm2 / seconds:.2f} mm2/s, {count / seconds:.0f} places/s"
        )


def measure(cohort: Cohort, config: ContrastConfig) -> Tally:
    tally = Tally()
    marks = cohort.annotations
    for entry in cohort.slides:
        mine = (marks.slide_id == entry.slide_id) & (marks.label == Label.MITOTIC_FIGURE)
        encoded = np.frombuffer(cohort.path_of(entry.slide_id).read_bytes(), dtype=np.uint8)
        start = time.process_time()
        cv2.imdecode(encoded, cv2.IMREAD_COLOR)
        tally.add_time("decoding", start)
        with cohort.open(entry.slide_id) as slide:
            look_for_spots(slide, marks.center_l0[mine], config, tally)
            look_for_components(slide, marks.center_l0[mine], tally)
    return tally


def print_tally(name: str, tally: Tally) -> None:
    total = sum(len(part) for part in tally.distances[DENSITIES[0], "as found"])
    print(
        f"{name}: {total} figures, {tally.area_mm2:.1f} mm2 of tissue, {tally.spots / tally.area_mm2:.0f} spots per mm2"
    )
    print("per mm2   places      " + "".join(f"  within {radius:3g} um" for radius in RADII_UM) + "   median  95 %")
    for (density, kind), parts in sorted(tally.distances.items()):
        distance = np.concatenate(parts)
        shares = [f"{(distance <= radius).mean():7.4f} ({(distance > radius).sum():3d})" for radius in RADII_UM]
        tail = f"{np.median(distance):6.2f} {np.quantile(distance, 0.95):6.2f} um"
        print(f"{density:7d}   {kind:10s}  {'  '.join(shares)}  {tail}")
    for kind, (count, near) in tally.components.items():
        print(
            f"haematoxylin components, {kind}: {count / tally.area_mm2:.0f} per mm2, {near / total:.4f} within 7.5 um"
        )
    decoding = tally.seconds["decoding"] / tally.read_mm2
    for part, seconds in tally.seconds.items():
        each = seconds / tally.read_mm2
        print(f"{part:28s} {1e3 * each:7.1f} ms per mm2 read, {each / decoding:.2f} of decoding")


def crops_of(folder: Path) -> Iterator[tuple[pd.DataFrame, NDArray[np.uint8]]]:
    """Rows and pixels of each crop; black padding becomes glass."""
    table = pd.read_csv(folder / "labels.csv")
    for name, rows in table.groupby("patch", sort=False):
        pixels = cv2.cvtColor(cv2.imread(str(folder / "patches" / str(name))), cv2.COLOR_BGR2RGB)
        black = pixels.max(axis=2) < 8
        pixels[black.mean(axis=1) > 0.9] = 235
        pixels[:, black.mean(axis=0) > 0.9] = 235
        yield rows, pixels


def rank_in_crop(rows: pd.DataFrame, pixels: NDArray[np.uint8], config: ContrastConfig) -> tuple[int, float, float]:
    """Rank from 1 of the strongest spot within 7.5 um of the crop's middle, and its distance there, found, re-centred.

    The surroundings beyond the crop repeat it mirrored; a rank of 0 is none.
    """
    mpp = float(rows.mpp.iloc[0])
    slide = PlainSlide(slide_id="crop", path=Path("crop"), mpp=mpp, pixels=pixels)
    small = slide.read(slide.bounds, config.mpp)
    margin = -(-reach_px(config) // COARSE_PX) * COARSE_PX
    plane = cv2.copyMakeBorder(small, margin, margin, margin, margin, cv2.BORDER_REFLECT)
    center, _ = contrast_maxima(plane, config)
    center = center[on_slide(center - margin, slide, config.mpp)]
    middle = rescale_points(rows[["x", "y"]].to_numpy(dtype=float)[:1], mpp_from=mpp, mpp_to=config.mpp) + margin
    away = np.linalg.norm(center - middle, axis=1) * config.mpp
    near = np.flatnonzero(away <= 7.5)
    if len(near) == 0:
        return 0, np.inf, np.inf
    moved = recentre(plane, center[near[:1]], config)
    return int(near[0]) + 1, float(away[near[0]]), float(np.linalg.norm(moved - middle) * config.mpp)


def print_crops(folder: Path, config: ContrastConfig) -> None:
    found = [(rows.domain.iloc[0], *rank_in_crop(rows, pixels, config)) for rows, pixels in crops_of(folder)]
    table = pd.DataFrame(found, columns=["domain", "rank", "found", "moved"])
    print("rank of the middle figure among the spots of its crop, by scanner")
    for domain, rows in table.groupby("domain"):
        share = [f"{rows['rank'].between(1, top).mean():.4f}" for top in (1, 2, 3)]
        away = [f"{rows[way].median():.2f}, {rows[way].quantile(0.95):.2f}" for way in ("found", "moved")]
        print(
            f"{domain:16s} {len(rows):5d} crops, no spot {(rows['rank'] == 0).sum():2d}, first {share[0]}, "
            f"in two {share[1]}, in three {share[2]}; median, 95 % um: found {away[0]}; re-centred {away[1]}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cohorts", nargs="*", type=Path)
    parser.add_argument("--crops", type=Path, help="folder with labels.csv and patches/")
    parser.add_argument("--channel", choices=["red", "haematoxylin"], default="red")
    parser.add_argument("--kind", choices=["spots", "components"], default="spots")
    parser.add_argument("--frames", type=int, help="slides of a cohort; with --kind components")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.kind == "components":
        for folder in options.cohorts:
            print_components(str(folder), measure_components(Cohort.load(folder), options.frames))
        return
    config = ContrastConfig(channel=options.channel)
    print(config)
    for folder in options.cohorts:
        print_tally(str(folder), measure(Cohort.load(folder), config))
    if options.crops:
        print_crops(options.crops, config)


if __name__ == "__main__":
    main()
