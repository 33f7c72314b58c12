"""Painting single cells: where their chromatin lies, and that a slide's edge only cuts."""

import numpy as np
import pytest
from scipy import ndimage

from mitosieve.phantom.canvas import MPP, Canvas, Grain, Stamp, Window
from mitosieve.phantom.cell import FIGURE_SHARES, IMPOSTER_SHARES, Cell, Kind
from mitosieve.phantom.figure import paint_figure
from mitosieve.phantom.imposter import paint_imposter
from mitosieve.phantom.scanner import SCANNERS, Staining, encode, scan

SIDE = 121
NEUTRAL = Staining(haematoxylin=(0.0, 0.0, 0.0), eosin=(0.0, 0.0, 0.0), strength=(1.0, 1.0))


def painted(kind, *, seed, difficulty=0.0, x=60.3, y=59.6):
    """Haematoxylin of one cell alone on glass."""
    generator = np.random.default_rng(seed)
    canvas = Canvas(np.zeros((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32))
    cell = Cell(x_l0=x, y_l0=y, kind=kind, difficulty=difficulty, angle=float(generator.uniform(0, np.pi)))
    paint = paint_figure if kind in FIGURE_SHARES else paint_imposter
    paint(canvas, cell, Grain.make(generator), generator)
    return canvas.haematoxylin


@pytest.mark.parametrize("kind", [*FIGURE_SHARES, *IMPOSTER_SHARES])
@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_chromatin_is_centred_on_the_mark(kind, difficulty):
    """The middle of a cell's chromatin, of both daughters together for a pair, lies within 2.5 um of its centre."""
    for seed in range(6):
        dark = np.maximum(painted(kind, seed=seed, difficulty=difficulty) - 0.5, 0)
        row, column = ndimage.center_of_mass(dark)
        assert np.hypot(column - 60.3, row - 59.6) * MPP < 2.5


def test_telophase_is_two_masses_with_one_centre():
    """A clear telophase has two dark masses of like size, one on each side of its centre."""
    for seed in range(6):
        groups, _ = ndimage.label(painted(Kind.TELOPHASE, seed=seed) > 0.7)
        sizes = np.sort(np.bincount(groups.ravel())[1:])[::-1]
        assert len(sizes) >= 2
        assert sizes[1] > 0.5 * sizes[0]
        assert sizes[2:].sum() < 0.1 * sizes[:2].sum()


def test_edge_of_the_slide_only_cuts():
    """A stamp that hangs over a canvas leaves on it what it would leave on a larger one."""
    generator = np.random.default_rng(0)
    window = Window.around(3.0, 55.0, radius_um=4.0, angle=0.3)
    stamp = Stamp(*generator.random((3, *window.shape), dtype=np.float32))
    small = Canvas(np.full((60, 50), 0.2, np.float32), np.full((60, 50), 0.4, np.float32))
    small.paint(window, stamp)
    large = Canvas(np.full((160, 150), 0.2, np.float32), np.full((160, 150), 0.4, np.float32))
    large.paint(Window(window.left + 50, window.top + 50, window.u, window.v), stamp)
    assert np.array_equal(small.haematoxylin, large.haematoxylin[50:110, 50:100])
    assert np.array_equal(small.eosin, large.eosin[50:110, 50:100])
    off = Window.around(-400.0, 10.0, radius_um=4.0, angle=0.0)
    small.paint(off, stamp)
    assert np.array_equal(small.eosin, large.eosin[50:110, 50:100])


@pytest.mark.parametrize("scanner", SCANNERS, ids=lambda scanner: scanner.name)
def test_more_stain_is_darker_and_haematoxylin_is_bluer(scanner):
    """By Beer-Lambert, stain only darkens; haematoxylin takes most of the red, eosin most of the green."""
    glass, stained = np.zeros((32, 32), np.float32), np.ones((32, 32), np.float32)
    means = []
    for canvas in (Canvas(glass, glass), Canvas(stained, glass), Canvas(glass, stained)):
        means.append(scan(canvas, scanner, NEUTRAL, np.random.default_rng(0)).mean(axis=(0, 1)))
    empty, blue, pink = means
    assert (empty > 220).all()
    assert (blue < empty).all()
    assert (pink < empty).all()
    assert blue[2] > blue[0]
    assert pink[0] > pink[2] > pink[1]
    assert encode(np.zeros((8, 8, 3), np.uint8), scanner)[:2] == b"\xff\xd8"
