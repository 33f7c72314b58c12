"""Laws of windows on a grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.method.cascade.windows import WindowConfig, largest_ioa, negative_centers, window_centers
from mitosieve.sieve.propose.grid import covering_centers

PAPER = WindowConfig(jitter_px=1)
COORDINATE = st.integers(-10, 70)


def negatives(size, figures, config, seed=0):
    return negative_centers(size, figures, config, np.random.default_rng(seed))


def test_the_papers_layout_gives_its_number_of_windows():
    """606 frames of 2000 x 2000 px and 50 of 5657 x 5657 px hold 606 * 900 + 50 * 87^2 = 923,850 windows."""
    small = len(window_centers((2000, 2000), patch_px=128, stride_px=64))
    large = len(window_centers((5657, 5657), patch_px=128, stride_px=64))
    assert (small, large) == (900, 87**2)
    assert 606 * small + 50 * large == 923_850


@given(st.integers(1, 400), st.integers(1, 400), st.integers(8, 130), st.integers(1, 90))
def test_windows_are_whole_and_start_top_left(width, height, side, stride):
    """Windows lie inside the image, start at multiples of the stride row by row, and none that would fit is missing."""
    corners = window_centers((width, height), patch_px=side, stride_px=stride) - (side - 1) / 2
    expected = [
        (x, y)
        for y in range(0, height, stride)
        for x in range(0, width, stride)
        if x + side <= width and y + side <= height
    ]
    assert [tuple(corner) for corner in corners.tolist()] == expected


@given(
    st.lists(st.tuples(COORDINATE, COORDINATE), max_size=6),
    st.sampled_from([(16, 8), (16, 16), (8, 16), (12, 4)]),
    st.integers(1, 9),
)
def test_ioa_equals_counting_pixels(corners, sides, stride):
    """IoA is the number of pixels of the window that lie in the figure's inner box, divided by the window's."""
    patch, inner = sides
    config = WindowConfig(patch_px=patch, inner_px=inner, stride_px=stride)
    centers = window_centers((50, 40), patch_px=patch, stride_px=stride)
    found = largest_ioa(centers, np.array(corners, dtype=float).reshape(-1, 2) + (inner - 1) / 2, config)
    pad = 40
    counts = np.zeros(len(centers))
    for x, y in corners:
        canvas = np.zeros((200, 200), dtype=int)
        canvas[y + pad : y + pad + inner, x + pad : x + pad + inner] = 1
        for row, (left, top) in enumerate((centers - (patch - 1) / 2).astype(int) + pad):
            counts[row] = max(counts[row], canvas[top : top + patch, left : left + patch].sum())
    assert np.allclose(found * patch**2, counts)


def test_ioa_goes_from_none_to_a_quarter():
    """With the paper's sides a figure in the middle has 64^2 / 128^2 = 0.25, one 96 px away or no figure has none."""
    window = np.array([[500.0, 500.0]])
    for dx, expected in ((0, 0.25), (32, 0.25), (64, 0.125), (80, 0.0625), (95, 1 / 256), (96, 0), (200, 0)):
        assert largest_ioa(window, np.array([[500.0 - dx, 500.0]]), PAPER)[0] == pytest.approx(expected)
    assert largest_ioa(window, np.zeros((0, 2)), PAPER).tolist() == [0]
    assert largest_ioa(np.zeros((0, 2)), window, PAPER).tolist() == []


def test_a_window_at_the_threshold_is_no_negative():
    """IoA of 0.0625 exactly, a figure 80 px beside the centre, is ignored; 81 px beside it is background."""
    x = 63.5
    size = (128, 128)
    assert len(negatives(size, np.array([[x + 80, x]]), PAPER)) == 0
    assert len(negatives(size, np.array([[x + 81, x]]), PAPER)) == 1


@given(st.integers(0, 1000), st.booleans(), st.sampled_from([0.03, 0.0625, 0.2]))
def test_no_negative_overlaps_a_figure_by_more_than_allowed(seed, borders, max_ioa):
    """Negatives are the windows whose overlap with every figure, by intervals, is below the threshold: all of them."""
    generator = np.random.default_rng(seed)
    config = WindowConfig(borders=borders, max_ioa=max_ioa, jitter_px=1)
    size = tuple(generator.integers(130, 700, 2).tolist())
    figures = generator.uniform(0, size, (4, 2))
    every = covering_centers(size, stride_px=64) if borders else window_centers(size, patch_px=128, stride_px=64)
    kept = {tuple(center) for center in negatives(size, figures, config).tolist()}
    for center in every.tolist():
        overlap = 0.0
        for figure in figures:
            sides = [max(0.0, min(c + 64, f + 32) - max(c - 64, f - 32)) for c, f in zip(center, figure, strict=True)]
            overlap = max(overlap, sides[0] * sides[1] / 128**2)
        if abs(overlap - max_ioa) > 1e-9:
            assert (tuple(center) in kept) == (overlap < max_ioa)


def test_an_image_smaller_than_a_window_has_none():
    """Nothing is padded, and that is no error; with borders the one cell is there."""
    assert window_centers((127, 500), patch_px=128, stride_px=64).shape == (0, 2)
    assert negatives((127, 500), np.array([[5.0, 5.0]]), PAPER).shape == (0, 2)
    one = negatives((40, 40), np.zeros((0, 2)), WindowConfig(borders=True, jitter_px=1))
    assert one.tolist() == [[19.5, 19.5]]


@given(st.integers(0, 1000), st.booleans(), st.integers(1, 64))
def test_a_negative_lies_less_than_the_jitter_beyond_its_place_on_the_grid(seed, borders, jitter):
    """Window by window, right and below by whole px; whole windows stay whole; a mark moves no other window."""
    size = tuple(np.random.default_rng(seed).integers(130, 400, 2).tolist())
    config = WindowConfig(borders=borders, jitter_px=jitter)
    grid = covering_centers(size, stride_px=64) if borders else window_centers(size, patch_px=128, stride_px=64)
    found = negatives(size, np.zeros((0, 2)), config, seed)
    moved = found - grid
    assert (moved == np.round(moved)).all()
    assert ((moved >= 0) & (moved < jitter)).all()
    assert borders or ((found >= 63.5) & (found <= np.array(size) - 64.5)).all()
    left = {tuple(center) for center in negatives(size, np.array([[100.0, 100.0]]), config, seed).tolist()}
    assert left <= {tuple(center) for center in found.tolist()}


def test_windows_of_a_jpeg_start_at_every_phase_of_its_blocks():
    """Jittered by 8 px, each of the 8 phases has about an eighth of the windows; else all have the first."""
    size = (64 * 30 + 128, 64 * 30 + 128)
    for jitter, share in ((8, 1 / 8), (1, 1)):
        phase = (negatives(size, np.zeros((0, 2)), WindowConfig(jitter_px=jitter)) - 63.5) % 8
        assert np.bincount(phase.astype(int).ravel()).max() / phase.size < share + 0.03
        assert (phase == 0).mean() == pytest.approx(share, abs=0.03)


@given(st.integers(0, 1000), st.integers(1, 64))
def test_negatives_of_the_strip_stay_in_their_cells_and_move_no_other(seed, jitter):
    """Outermost windows lie by whole px in their cell and inside the image; inner ones where they are without."""
    size = tuple(np.random.default_rng(seed).integers(130, 400, 2).tolist())
    config = WindowConfig(borders=True, jitter_px=jitter)
    grid = covering_centers(size, stride_px=64)
    bare, found = (
        negatives(size, np.zeros((0, 2)), config.model_copy(update={"border_strip": strip}), seed)
        for strip in (False, True)
    )
    assert ((found - grid) == np.round(found - grid)).all()
    for axis in (0, 1):
        line = grid[:, axis]
        outer = (line == line.min()) | (line == line.max())
        assert (found[~outer, axis] == bare[~outer, axis]).all()
        assert (np.abs(found - grid)[outer, axis] <= 32).all()
        assert ((found[outer, axis] >= 0) & (found[outer, axis] <= size[axis] - 1)).all()


def test_negatives_of_the_strip_are_as_often_near_a_border_as_places_drawn_at_random():
    """On a slide of whole cells without it none is within 24 px of a border; with it as many as of random places."""
    drawn = np.random.default_rng(0).uniform(-0.5, 639.5, (100_000, 2))
    for reach in (8, 16, 24, 32, 48):
        wanted = (np.minimum(drawn, 639 - drawn).min(axis=1) < reach).mean()
        near = {}
        for strip in (False, True):
            config = WindowConfig(borders=True, border_strip=strip)
            found = np.concatenate([negatives((640, 640), np.zeros((0, 2)), config, seed) for seed in range(40)])
            near[strip] = (np.minimum(found, 639 - found).min(axis=1) < reach).mean()
        assert near[True] == pytest.approx(wanted, abs=0.015)
        assert near[False] == 0 or reach > 24
