"""Seconds to find the hotspot of one slide: square, rectangle and circle, by number of figures and how they lie.

Run: python bench/hotspot.py [--figures 100000]
"""

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from mitosieve.count.hotspot import AREA_MM2, SHAPES, find_hotspot

SLIDE_MM = (20.0, 15.0)
_MOST_ON_LATTICE = 10_000


def evenly(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Anywhere: many places nearly as good as the best, the hardest case for pruning."""
    return generator.uniform(0, SLIDE_MM, (count, 2))


def in_spots(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Half of them in twenty spots of 0.5 mm."""
    spots = generator.uniform(1, np.array(SLIDE_MM) - 1, (20, 2))
    near = spots[generator.integers(0, 20, count // 2)] + generator.normal(0, 0.5, (count // 2, 2))
    return np.concatenate([near, evenly(count - len(near), generator)])


def on_lattice(count: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """On a square lattice: every place is as good as the next one, the worst case for a circle. No tissue is so."""
    step = np.sqrt(np.prod(SLIDE_MM) / count)
    x, y = np.meshgrid(np.arange(step / 2, SLIDE_MM[0], step), np.arange(step / 2, SLIDE_MM[1], step))
    return np.column_stack([x.ravel(), y.ravel()]) + generator.uniform(0, 1e-3, 2)


def main() -> None:
    """Time every shape on every kind; the best of three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=int, default=100_000)
    arguments = parser.parse_args()
    for shape in SHAPES:
        find_hotspot(np.array([(1.0, 1.0)]), size_mm=SLIDE_MM, shape=shape)  # compiles
    print(f"slide {SLIDE_MM[0]:g} x {SLIDE_MM[1]:g} mm")
    print(f"{'figures':>9}  {'lie':<10}  {'area':>5}  " + "".join(f"{shape:>12}" for shape in SHAPES) + "   (s)")
    for count in sorted({1_000, 10_000, arguments.figures}):
        for kind in (evenly, in_spots, on_lattice) if count <= _MOST_ON_LATTICE else (evenly, in_spots):
            points = kind(count, np.random.default_rng(5))
            for area in (AREA_MM2, 2.37):  # ten high-power fields of a common microscope
                seconds = []
                for shape in SHAPES:
                    tries = []
                    for _ in range(3):
                        start = time.perf_counter()
                        find_hotspot(points, size_mm=SLIDE_MM, area_mm2=area, shape=shape)
                        tries.append(time.perf_counter() - start)
                    seconds.append(min(tries))
                told = "".join(f"{value:12.4f}" for value in seconds)
                print(f"{len(points):>9}  {kind.__name__:<10}  {area:>5g}  {told}")


if __name__ == "__main__":
    main()
