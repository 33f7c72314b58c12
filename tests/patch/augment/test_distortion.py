"""Laws of the aggressive distortion: each step does what it says, all are the steps in order, rooms are kept."""

import dataclasses
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.interpolate import CubicSpline

from mitosieve.patch.augment.colour import recolour_distorted, stain_vectors
from mitosieve.patch.augment.distortion import (
    Distortion,
    DistortionConfig,
    confine,
    draw_distortions,
    elastic_basis,
    reach_px,
)
from mitosieve.patch.augment.warp import place_in_patch, warp_patches
from mitosieve.patch.cutting import cut_patches
from mitosieve.patch.frames import Frame, FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.slide.plain import PlainSlide

SIDE = 20
ALWAYS = {name: 1.0 for name in ("p_elastic", "p_colour", "p_light", "p_hed", "p_sharpness", "p_noise", "p_jpeg")}
NEVER = dict.fromkeys(ALWAYS, 0.0)
ALL = DistortionConfig(**ALWAYS)
FIELDS = tuple(Distortion.__dataclass_fields__)
FREE = (-np.inf, -np.inf, np.inf, np.inf)


def rng(seed=0):
    return np.random.default_rng(seed)


def a_frame(pixels, margin=0):
    return Frame(pixels=pixels, origin_px=(-margin, -margin))


def noise(width=120, height=110, seed=0):
    return rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth(x, y):
    """Values that bend little within a pixel, three channels."""
    waves = [np.sin(x / 11 + y / 17), np.cos(x / 13 - y / 19), np.sin(y / 12) * np.cos(x / 15)]
    return 128 + 100 * np.stack(waves, axis=-1)


def only(n=1, **values):
    """Neutral but for these, given for one row and repeated."""
    plain = Distortion.plain(n)
    repeated = {
        name: np.repeat(np.asarray(value, dtype=getattr(plain, name).dtype)[None], n, axis=0)
        for name, value in values.items()
    }
    return dataclasses.replace(plain, **repeated)


def joined(parts):
    return Distortion(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in FIELDS})


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in FIELDS)


def one(frame, center, distortion, side=SIDE):
    return warp_patches(frame, np.array([center], dtype=float), distortion, patch_px=side)[0]


# numbers


def test_the_same_numbers_are_drawn_whatever_is_switched_on():
    """After a draw the generator stands at the same place, so switching one thing changes that thing alone."""
    full = draw_distortions(9, ALL, rng())
    for change in (
        {"elastic_grid": 7, "elastic_px": 0.5},
        {"rotate": "none", "flip": False, "shift_px": 0, "noise": 0.0},
        {"gamma": (1, 1), "jpeg": (30, 30), "hue": 0.0, "scale": (1, 1)},
        {name: 0.0 for name in ALWAYS if name != "p_hed"},
    ):
        first, second = rng(), rng()
        other = draw_distortions(9, ALL.model_copy(update=change), first)
        draw_distortions(9, ALL, second)
        assert first.random() == second.random()
        for name in ("hed_gain", "hed_shift", "sharpness_sigma_px", "noise_seed"):
            assert (getattr(other, name) == getattr(full, name)).all()


def test_with_nothing_switched_on_all_is_neutral():
    """Shares of 0, no shift, no turn, no mirror and a scale of 1 draw the plain distortion, but for seed and sigma."""
    config = DistortionConfig(shift_px=0, rotate="none", flip=False, scale=(1, 1), **NEVER)
    drawn, plain = draw_distortions(5, config, rng()), Distortion.plain(5, elastic_grid=4)
    unused = {"noise_seed": plain.noise_seed, "sharpness_sigma_px": plain.sharpness_sigma_px}
    assert equal(dataclasses.replace(drawn, **unused), plain)


def test_draws_stay_in_their_ranges_and_use_them():
    """Every parameter lies in its range and comes near both ends."""
    n = 4000
    drawn, config = draw_distortions(n, ALL, rng()), ALL
    ranges = {
        "shift_px": (-6, 6),
        "angle_deg": (0, 360),
        "scale": config.scale,
        "channel_gain": (0.9, 1.1),
        "channel_offset": (-0.05, 0.05),
        "hue": (-config.hue, config.hue),
        "saturation": config.saturation,
        "brightness": config.brightness,
        "contrast": config.contrast,
        "gamma": config.gamma,
        "hed_gain": (0.9, 1.1),
        "hed_shift": (-config.hed_shift, config.hed_shift),
        "sharpness": config.sharpness,
        "sharpness_sigma_px": config.sharpness_sigma_px,
        "noise": (0, 0.04),
        "jpeg": config.jpeg,
        "elastic_px": (-1.5 * math.sqrt(3), 1.5 * math.sqrt(3)),
    }
    assert set(ranges) == set(FIELDS) - {"mirrored", "noise_seed"}
    for name, (low, high) in ranges.items():
        values, slack = getattr(drawn, name), 0.01 * (high - low)
        assert low <= values.min() <= low + slack, name
        assert high - slack <= values.max() <= high, name
    assert 0.45 < drawn.mirrored.mean() < 0.55
    assert set(drawn.jpeg) == set(range(40, 96))
    assert 0.47 < (drawn.scale > 1).mean() < 0.53


def test_every_parameter_differs_between_the_samples_of_a_batch():
    """No two samples share a number that is continuous, and no two numbers of a sample hang together."""
    drawn = draw_distortions(500, ALL, rng())
    columns = []
    for name in FIELDS:
        values = getattr(drawn, name).reshape(500, -1).astype(float)
        if name not in ("mirrored", "jpeg"):
            assert all(len(np.unique(column)) == 500 for column in values.T), name
        columns.append(values)
    related = np.corrcoef(np.concatenate(columns, axis=1), rowvar=False)
    np.fill_diagonal(related, 0)
    assert np.abs(related).max() < 0.25


def test_shares_are_kept():
    """A group is on in its share of the samples and off in the others, as a whole."""
    drawn = draw_distortions(3000, DistortionConfig(p_colour=0.3, p_jpeg=0.6), rng())
    coloured = drawn.hue != 0
    assert 0.27 < coloured.mean() < 0.33
    assert ((drawn.saturation != 1) == coloured).all()
    assert ((drawn.channel_gain != 1).all(axis=1) == coloured).all()
    assert 0.57 < (drawn.jpeg > 0).mean() < 0.63
    right = draw_distortions(200, DistortionConfig(rotate="right"), rng())
    assert np.unique(right.angle_deg).tolist() == [0, 90, 180, 270]


@pytest.mark.parametrize(
    "wrong",
    [
        {"scale": (1.2, 0.8)},
        {"scale": (0, 1)},
        {"gamma": (0, 1)},
        {"jpeg": (0, 50)},
        {"jpeg": (50, 101)},
        {"jpeg": (50.5, 60)},
        {"saturation": (1.4, 0.6)},
        {"sharpness": (-1.1, 0)},
        {"sharpness_sigma_px": (0, 1)},
        {"p_jpeg": 1.1},
        {"shift_px": -1},
        {"elastic_grid": 1},
        {"elastic_grid": 9},
        {"kind": "mild"},
        {"blur": 1},
        {"brightness": (float("nan"), 1)},
    ],
)
def test_bad_ranges_are_refused(wrong):
    """Ranges in the wrong order or beyond what makes sense, and unknown names, are errors."""
    with pytest.raises(ValidationError):
        DistortionConfig(**wrong)


def test_a_config_survives_its_table():
    """What goes into a recipe as a flat table of plain values comes back the same."""
    table = ALL.model_dump(mode="json", exclude_none=True)
    assert all(isinstance(value, str | float | int | list) for value in table.values())
    assert DistortionConfig(**table) == ALL


# places


@given(st.integers(-30, 110), st.integers(-30, 100), st.sampled_from([(19, 0.0), (20, 0.5)]))
def test_neutral_is_the_plain_cut(x, y, shape):
    """A neutral distortion at a whole place gives what `cut_patches` gives, over the border too."""
    side, half = shape
    frame, center = a_frame(noise(), 3), (x + half, y + half)
    expected = cut_patches(frame, np.array([center]), patch_px=side)[0]
    assert (one(frame, center, Distortion.plain(1), side) == expected).all()


@given(st.floats(-20, 100), st.floats(-20, 100), st.sampled_from([19, 20]), st.integers(0, 3), st.booleans())
def test_any_place_has_the_frames_own_pixels_where_the_map_keeps_the_grid(x, y, side, quarter, mirrored):
    """Turned by right angles alone, both ways of cutting give the same bytes at any fraction of a pixel."""
    frame, angle = a_frame(noise(), 3), 90.0 * quarter
    expected = cut_patches(
        frame, np.array([[x, y]]), patch_px=side, angle_deg=np.array([angle]), mirrored=np.array([mirrored])
    )[0]
    assert (one(frame, (x, y), only(angle_deg=angle, mirrored=mirrored), side) == expected).all()


@given(st.floats(-20, 100), st.floats(-20, 100), st.floats(0, 360), st.booleans())
def test_without_scale_and_displacement_it_is_the_turned_cut(x, y, angle, mirrored):
    """Between pixels and turned, both ways of cutting agree on tissue to one grey level."""
    rows, columns = np.indices((110, 120))
    frame = a_frame(np.round(smooth(columns, rows)).astype(np.uint8), 3)
    inside = (abs(x - 56) < 30) & (abs(y - 50) < 25)  # over the border a fraction of a pixel makes a step
    expected = cut_patches(
        frame, np.array([[x, y]]), patch_px=SIDE, angle_deg=np.array([angle]), mirrored=np.array([mirrored])
    )[0]
    found = one(frame, (x, y), only(angle_deg=angle, mirrored=mirrored))
    assert np.abs(found.astype(int) - expected).max() <= (1 if inside else 12)


@pytest.mark.parametrize("side", [19, 20])
@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turns_and_mirrors_are_exact(side, mirrored):
    """Four quarter turns are none, each is np.rot90, and two mirrors are none."""
    frame, center = a_frame(noise()), (50 + (side - 1) / 2, 40 + (side - 1) / 2)
    plain = one(frame, center, Distortion.plain(1), side)
    for quarter in range(5):
        turned = one(frame, center, only(angle_deg=90.0 * quarter, mirrored=mirrored), side)
        assert (np.rot90(turned[:, ::-1] if mirrored else turned, k=quarter) == plain).all()


def test_a_shift_moves_a_dot_by_as_much():
    """The centre goes to the right and down, so the dot to the left and up, by fractions off the grid."""
    pixels = cv2.GaussianBlur(np.pad(np.full((3, 3, 3), 255, np.uint8), ((59, 58), (59, 58), (0, 0))), (0, 0), 3)
    places = []
    for shift, angle in (((0, 0), 0), ((3.25, -2.5), 0.01)):
        patch = one(a_frame(pixels), (60, 60), only(shift_px=shift, angle_deg=angle), 41)[..., 0].astype(float)
        rows, columns = np.indices(patch.shape)
        places.append(np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum())
    assert np.abs(places[1] - places[0] - (-3.25, 2.5)).max() < 0.05


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.25, 2.0])
def test_scale_is_how_much_larger_a_cell_appears(scale):
    """The area of a disc grows with the square of the scale, and its middle stays."""
    rows, columns = np.indices((121, 121)) - 60.0
    disc = np.clip(10.5 - np.hypot(rows, columns), 0, 1)
    pixels = np.repeat(np.round(255 * disc)[..., None], 3, axis=2).astype(np.uint8)
    patch = one(a_frame(pixels), (60, 60), only(scale=scale), 51)[..., 0] / 255
    assert abs(math.sqrt(patch.sum() / math.pi) / 10 - scale) < 0.02 * scale
    at = np.arange(51) - 25
    assert abs((patch.sum(axis=0) * at).sum()) + abs((patch.sum(axis=1) * at).sum()) < 1


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_the_one_map_is_its_steps_in_order(seed):
    """Displaced in the patch, then mirrored, turned counter-clockwise, made smaller by the scale, and shifted."""
    side, margin = 24, 40
    drawn = draw_distortions(1, ALL.model_copy(update={"elastic_grid": int(rng(seed).integers(2, 9))}), rng(seed))
    rows, columns = np.indices((140, 150)) - margin
    frame = a_frame(np.round(smooth(columns, rows)).astype(np.uint8), margin)
    center = rng(seed + 1).uniform(25, 45, 2)
    half = (side - 1) / 2
    y, x = np.indices((side, side)) - half
    at, knots = np.linspace(0, 1, side), np.linspace(0, 1, drawn.elastic_px.shape[-1])
    weight = CubicSpline(knots, np.eye(len(knots)), bc_type="natural")(at)
    calm = (weight**2).sum(axis=1).mean()
    bend = [CubicSpline(knots, points, axis=0, bc_type="natural")(at) for points in drawn.elastic_px[0]]
    bend = [CubicSpline(knots, points, axis=1, bc_type="natural")(at) / calm for points in bend]
    x, y = x + bend[0], y + bend[1]
    x = -x if drawn.mirrored[0] else x
    turned = (x - 1j * y) * np.exp(1j * np.deg2rad(drawn.angle_deg[0]))
    x, y = turned.real / drawn.scale[0], -turned.imag / drawn.scale[0]
    expected = smooth(x + drawn.shift_px[0, 0] + center[0], y + drawn.shift_px[0, 1] + center[1])
    assert np.abs(one(frame, center, drawn, side) - expected).max() < 2


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_the_displacement_has_the_stated_deviation(grid):
    """Over samples and the patch, a point moves by `elastic_px` as the root mean square in x and in y."""
    config = ALL.model_copy(update={"elastic_grid": grid, "elastic_px": 2.0})
    points, basis = draw_distortions(3000, config, rng()).elastic_px, elastic_basis(32, grid)
    field = basis @ points @ basis.T
    assert np.sqrt((field**2).mean(axis=(0, 2, 3))) == pytest.approx([2, 2], rel=0.03)


@pytest.mark.parametrize("grid", [2, 4, 8])
def test_the_margin_holds_any_distortion(grid):
    """With a margin of `reach_px`, patches on the slide meet nothing but the frame, the wildest displacement too."""
    config = ALL.model_copy(update={"elastic_grid": grid, "elastic_px": 4.0, "scale": (0.5, 0.5)})
    margin = reach_px(config, SIDE)
    pixels = np.full((40 + 2 * margin, 50 + 2 * margin, 3), (200, 100, 50), dtype=np.uint8)
    pixels[0, 0] = 0  # what lies beyond the margin would be black
    drawn = draw_distortions(60, config, rng())
    basis = elastic_basis(SIDE, grid)
    at = np.argmax(np.abs(basis).sum(axis=1))
    worst = np.sign(np.outer(basis[at], basis[at])) * np.sqrt(3) * 4
    wild = np.where(np.arange(60)[:, None, None, None] % 2 == 0, drawn.elastic_px, worst)
    wild *= np.where(np.arange(60) % 4 == 1, -1, 1)[:, None, None, None]
    shift = np.where(np.arange(60)[:, None] % 3 == 0, np.sign(drawn.shift_px) * 6, drawn.shift_px)
    drawn = dataclasses.replace(drawn, elastic_px=wild, shift_px=shift)
    for place in ((0, 0), (49, 0), (0, 39), (49, 39)):
        patches = warp_patches(a_frame(pixels, margin), np.array([place] * 60), drawn, patch_px=SIDE)
        assert (patches == (200, 100, 50)).all()


def test_beyond_the_frame_there_is_its_corner_colour():
    """Outside the frame every pixel has the colour of pixels[0, 0], also where the frame is out of reach."""
    pixels = np.zeros((60, 70, 3), dtype=np.uint8)
    pixels[0, 0] = (240, 241, 239)
    drawn = only(angle_deg=33.0, scale=0.9)
    patch = one(a_frame(pixels), (70, 30), drawn, 30)
    assert set(map(tuple, patch.reshape(-1, 3))) >= {(0, 0, 0), (240, 241, 239)}
    assert (patch == (240, 241, 239)).all(axis=2).mean() == pytest.approx(0.5, abs=0.06)
    for place in ((-500, 10), (500, 10), (10, -500), (10, 900)):
        assert (one(a_frame(pixels), place, drawn) == (240, 241, 239)).all()


@given(st.integers(0, 2**32))
@settings(max_examples=40)
def test_a_dot_appears_where_it_is_said_to(seed):
    """A bright dot beside the centre lies at the computed place, whatever shift, turn, mirror and scale are drawn."""
    side, config = 61, DistortionConfig(**NEVER, shift_px=6, scale=(0.6, 1.6))
    drawn = draw_distortions(1, config, rng(seed))
    offset = rng(seed + 1).uniform(-9, 9, (1, 2))
    center = np.array([[70.3, 64.8]])
    rows, columns = np.indices((130, 140))
    dot = np.exp(-((columns - center[0, 0] - offset[0, 0]) ** 2 + (rows - center[0, 1] - offset[0, 1]) ** 2) / 8)
    pixels = np.repeat(np.round(255 * dot)[..., None], 3, axis=2).astype(np.uint8)
    patch = warp_patches(a_frame(pixels), center, drawn, patch_px=side)[0, ..., 0].astype(float)
    rows, columns = np.indices(patch.shape)
    seen = np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum()
    assert np.linalg.norm(place_in_patch(offset, drawn, patch_px=side)[0] - seen) < 0.75


def test_what_a_patch_misses_is_said_to_lie_outside():
    """Far from the centre, beyond the patch's sides; the centre itself lies in the middle."""
    found = place_in_patch(np.array([[0.0, 0.0], [100.0, 0.0]]), only(2), patch_px=SIDE)
    assert found.tolist() == [[9.5, 9.5], [109.5, 9.5]]


# rooms


def corners(center, drawn, side):
    """Places (B, 4, 2) of the corner pixels' centres."""
    half = (side - 1) / 2
    points = np.array([(-half, -half), (half, -half), (-half, half), (half, half)])
    answer = []
    for row in range(len(drawn)):
        angle, scale = np.deg2rad(drawn.angle_deg[row]), drawn.scale[row]
        x = points[:, 0] * (-1 if drawn.mirrored[row] else 1)
        turned = (x - 1j * points[:, 1]) * np.exp(1j * angle) / scale
        answer.append(np.stack([turned.real, -turned.imag], axis=1) + center[row] + drawn.shift_px[row])
    return np.array(answer)


@given(
    st.integers(0, 2**32), st.sampled_from([20, 68]), st.sampled_from([(128, 128), (68, 90), (50.2, 40.9), (400, 70.5)])
)
@settings(max_examples=60)
def test_confined_patches_lie_in_their_rooms(seed, side, size):
    """By brute force: whatever was drawn, no corner lies beyond the last pixels whose centres are in the room."""
    n = 40
    drawn, center = draw_distortions(n, ALL, rng(seed)), rng(seed).uniform(0, size, (n, 2))
    room = np.tile((-0.5, -0.5, size[0] - 0.5, size[1] - 0.5), (n, 1))
    room[::5] = FREE
    kept = confine(drawn, center, room, side)
    limited = np.arange(n) % 5 != 0
    places = corners(center, kept, side)[limited]
    assert places.min() >= -1e-9
    last = [max(j for j in range(500) if j < side_px - 0.5) for side_px in size]
    assert (places <= np.array(last) + 1e-9).all()
    assert (kept.angle_deg[limited] % 90 == 0).all()
    assert np.abs(kept.angle_deg - drawn.angle_deg).max() <= 45
    assert (kept.elastic_px[limited] == 0).all()
    assert equal(kept[~limited], drawn[~limited])
    untouched = set(FIELDS) - {"shift_px", "angle_deg", "scale", "elastic_px"}
    assert all(np.array_equal(getattr(kept, name), getattr(drawn, name)) for name in untouched)


def test_a_place_that_fits_is_moved_no_more_than_drawn():
    """In a crop, the drawn scale from 1 and shift stay where there is room; the least is cut where not."""
    room = np.tile((-0.5, -0.5, 127.5, 127.5), (4, 1))
    center = np.array([[63.5, 63.5], [63.5, 63.5], [20.0, 64.0], [63.5, 63.5]])
    drawn = joined([only(shift_px=(4.5, -3.25), scale=1.1), only(scale=0.5), only(), only(scale=2.0, shift_px=(60, 0))])
    kept = confine(drawn, center, room, 68)
    assert kept.shift_px[0].tolist() == [4.5, -3.25]
    assert kept.scale[0] == 1.1
    assert kept.scale[1] == 1
    assert kept.shift_px[2].tolist() == [13.5, 0]
    assert kept.scale[2] == 1
    assert kept.shift_px[3].tolist() == pytest.approx([127 - 33.5 / 2 - 63.5, 0])


@given(st.floats(0, 127), st.floats(0, 127))
def test_a_plain_patch_is_moved_by_the_least_shift(x, y):
    """No smaller shift puts the plain patch into the room."""
    kept = confine(Distortion.plain(1), np.array([[x, y]]), np.array([(-0.5, -0.5, 127.5, 127.5)]), 68)
    least = [min(max(v, 33.5), 93.5) - v for v in (x, y)]
    assert kept.shift_px[0] == pytest.approx(least, abs=1e-9)
    assert kept.scale[0] == pytest.approx(1, abs=1e-12)


def test_the_scale_of_a_crop_does_not_tell_where_in_it_a_place_lies():
    """Wherever a plain patch fits, the middle and the corners of a crop get the same scales of the same draws."""
    drawn = draw_distortions(300, ALL, rng())
    room = np.tile((-0.5, -0.5, 127.5, 127.5), (300, 1))
    scales = [confine(drawn, np.tile(place, (300, 1)), room, 68).scale for place in ((64.0, 64.0), (33.5, 93.5))]
    np.testing.assert_allclose(*scales, rtol=1e-12)
    assert len(np.unique(scales[0])) > 100


# colours


def reference(patch, drawn):
    """All steps but noise and JPEG on one patch, pixel by pixel as the docstring has them; floats."""
    height, width = patch.shape[:2]
    values = np.zeros((height, width, 3))
    basis = stain_vectors()
    for i in range(height):
        for j in range(width):
            density = [-math.log((int(v) + 1) / 256) for v in patch[i, j]]
            amount = np.linalg.solve(basis, density)
            amount = [amount[k] * drawn.hed_gain[0, k] + drawn.hed_shift[0, k] for k in range(3)]
            for c in range(3):
                mixed = sum(basis[c, k] * amount[k] for k in range(3)) * drawn.gamma[0]
                values[i, j, c] = (256 * math.exp(-mixed) * drawn.channel_gain[0, c] - 1) * drawn.brightness[0]
    mean = [values[..., c].sum() / (height * width) for c in range(3)]
    for i in range(height):
        for j in range(width):
            pixel = [mean[c] + drawn.contrast[0] * (values[i, j, c] - mean[c]) for c in range(3)]
            grey = sum(pixel) / 3
            chroma = np.array([drawn.saturation[0] * (v - grey) for v in pixel])
            axis, angle = np.ones(3) / math.sqrt(3), 2 * math.pi * drawn.hue[0]
            chroma = chroma * math.cos(angle) + np.cross(axis, chroma) * math.sin(angle)
            values[i, j] = grey + chroma + 255 * drawn.channel_offset[0]
    sigma, amount = drawn.sharpness_sigma_px[0], drawn.sharpness[0]
    reach = math.ceil(3 * sigma)
    weight = np.array([math.exp(-(k**2) / (2 * sigma**2)) for k in range(-reach, reach + 1)])
    weight /= weight.sum()
    blurred = np.zeros_like(values)
    mirror = [*range(reach, 0, -1), *range(height), *range(height - 2, height - 2 - reach, -1)]
    across = [*range(reach, 0, -1), *range(width), *range(width - 2, width - 2 - reach, -1)]
    for i in range(height):
        for j in range(width):
            for a in range(2 * reach + 1):
                for b in range(2 * reach + 1):
                    blurred[i, j] += weight[a] * weight[b] * values[mirror[i + a], across[j + b]]
    return values + amount * (values - blurred)


@given(st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_the_colour_pass_is_its_steps_in_order(seed):
    """The two affine maps and the blur give what slow loops over pixels give, to one grey level."""
    drawn = draw_distortions(1, ALL.model_copy(update={"p_noise": 0.0, "p_jpeg": 0.0}), rng(seed))
    patch = rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    expected = np.clip(reference(patch, drawn), 0, 255)
    assert np.abs(recolour_distorted(patch[None], drawn)[0] - expected).max() <= 0.51


def test_neutral_colour_changes_nothing_and_touches_no_input():
    """Neutral rows come back as they are, beside others that change; the input is left alone."""
    patches = noise(SIDE, SIDE * 2).reshape(2, SIDE, SIDE, 3)
    before = patches.copy()
    both = joined([Distortion.plain(1), only(gamma=1.3, hue=0.05)])
    changed = recolour_distorted(patches, both)
    assert (patches == before).all()
    assert (changed[0] == before[0]).all()
    assert (changed[1] != before[1]).any()


@pytest.mark.parametrize(
    "change",
    [
        {"hue": 0.07},
        {"saturation": 0.3},
        {"contrast": 0.5},
        {"sharpness": 0.9},
        {"sharpness": -1.0},
    ],
)
def test_a_grey_flat_patch_has_no_hue_saturation_contrast_or_sharpness(change):
    """What these steps change is a difference; where there is none, nothing changes."""
    flat = np.full((1, SIDE, SIDE, 3), 137, dtype=np.uint8)
    assert (recolour_distorted(flat, only(**change)) == 137).all()


def test_a_third_of_a_turn_exchanges_the_channels():
    """Hue goes from red to green to blue where positive, and saturation 0 is the mean of the channels."""
    patch = np.full((1, 4, 4, 3), (200, 60, 100), dtype=np.uint8)
    assert (recolour_distorted(patch, only(hue=1 / 3))[0] == (100, 200, 60)).all()
    assert (recolour_distorted(patch, only(saturation=0.0))[0] == (120, 120, 120)).all()


def test_noise_has_its_deviation_and_depends_on_its_seed():
    """Mean 0, the stated deviation in each channel, no correlation of neighbours; the same seed gives the same."""
    flat = np.full((1, 200, 200, 3), 128, dtype=np.uint8)
    noisy = only(noise=0.04, noise_seed=np.uint64(2**64 - 3))
    found = recolour_distorted(flat, noisy)[0].astype(float) - 128
    assert np.abs(found.mean(axis=(0, 1))).max() < 0.2
    assert found.std(axis=(0, 1)) == pytest.approx([10.2] * 3, rel=0.02)
    flat_noise = found.reshape(-1, 3)
    assert np.abs(np.corrcoef(flat_noise, rowvar=False) - np.eye(3)).max() < 0.02
    assert abs(np.corrcoef(flat_noise[1:, 0], flat_noise[:-1, 0])[0, 1]) < 0.02
    assert (recolour_distorted(flat, noisy) == recolour_distorted(flat, noisy)).all()
    other = recolour_distorted(flat, only(noise=0.04, noise_seed=np.uint64(5)))[0].astype(float) - 128
    assert abs(np.corrcoef(other.ravel(), found.ravel())[0, 1]) < 0.02


def test_compression_costs_more_at_lower_quality_and_keeps_the_channels():
    """JPEG at 95 is near the patch, at 40 farther; red stays red."""
    rows, columns = np.indices((68, 68))
    patch = np.round(smooth(3 * columns, 3 * rows)).astype(np.uint8)[None]
    errors = [np.abs(recolour_distorted(patch, only(jpeg=q))[0].astype(int) - patch[0]).mean() for q in (95, 70, 40)]
    assert 0 < errors[0] < errors[1] < errors[2] < 12
    red = np.full((1, 68, 68, 3), (220, 30, 60), dtype=np.uint8)
    assert np.abs(recolour_distorted(red, only(jpeg=90)).astype(int) - red).max() <= 3


def test_values_clip_and_do_not_wrap():
    """Far too bright is white, far too dark is black."""
    patch = noise(16, 16)[None]
    for offset, value in ((3.0, 255), (-3.0, 0)):
        assert (recolour_distorted(patch, only(channel_offset=(offset,) * 3)) == value).all()


# reading


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Two slides, the second small and with a room; each place stands twice, once with an angle."""
    folder = tmp_path_factory.mktemp("distorted")
    store = FrameStore(folder, FrameConfig(stain="none"), margin_px=reach_px(ALL, SIDE))
    parts = []
    for name, (width, height) in {"a": (120, 100), "b": (64, 48)}.items():
        pixels = np.maximum(noise(width, height, len(parts)), 1) // 2
        slide = PlainSlide(slide_id=name, path=folder / name, mpp=0.25, pixels=pixels.astype(np.uint8))
        store.add(name, lambda slide=slide: slide, None)
        places, angle = rng(1).uniform(0, 48, (8, 2)), np.arange(8) % 2 * 37.0
        parts.append(
            PatchIndex.of(slide_id=name, center_l0=places, origin=Origin.BACKGROUND, mpp=0.25, angle_deg=angle)
        )
    rooms = {"b": (-0.5, -0.5, 63.5, 47.5)}
    index = PatchIndex.concatenate(parts)
    return PatchReader(index, store, {"a": 0.25, "b": 0.25}, patch_px=SIDE, rooms=rooms)


@given(st.permutations(range(16)))
@settings(max_examples=10, deadline=None)
def test_rows_do_not_see_each_other(reader, order):
    """Permuting rows with their parameters permutes patches, and a batch of one gives the same as a batch."""
    drawn, order = draw_distortions(16, ALL, rng(2)), np.array(order)
    whole = reader.read(np.arange(16), drawn)
    assert (reader.read(order, drawn[order]) == whole[order]).all()
    for row in order[:3]:
        assert (reader.read(np.array([row]), drawn[[row]])[0] == whole[row]).all()


def test_the_same_seed_gives_the_same_bytes(reader):
    """Nothing but the passed generator decides: two draws of one state read the same bytes, of another do not."""
    first, second, other = (reader.read(np.arange(16), draw_distortions(16, ALL, rng(seed))) for seed in (3, 3, 4))
    assert first.tobytes() == second.tobytes()
    assert all((first[row] != other[row]).any() for row in range(16))
    assert (
        len({patch.tobytes() for patch in reader.read(np.zeros(16, np.intp), draw_distortions(16, ALL, rng(3)))}) == 16
    )


def test_a_room_keeps_padding_out_of_what_is_read(reader, tmp_path):
    """With other padding the patches of the slide with a room are the same, whatever kernel; those of the other not."""
    store, margin = reader.store, reader.store.margin_px
    other = FrameStore(tmp_path, store.config, margin_px=margin)
    for name in ("a", "b"):
        padded = np.full_like(store.frame(name).pixels, 77)
        inside = (slice(margin, -margin), slice(margin, -margin))
        padded[inside] = store.frame(name).pixels[inside]
        np.save(tmp_path / f"{name}.npy", padded)
    again = PatchReader(reader.index, other, {"a": 0.25, "b": 0.25}, patch_px=SIDE, rooms=reader.rooms)
    geometry = draw_distortions(16, DistortionConfig(**NEVER | {"p_elastic": 1.0}), rng(5))
    for kernel in ("linear", "cubic", "lanczos"):
        one_way, other_way = (each.read(np.arange(16), geometry, kernel) for each in (reader, again))
        assert (one_way[8:] == other_way[8:]).all()
        assert (one_way[:8] != other_way[:8]).any()


def test_a_neutral_distortion_reads_the_place_and_its_angle(reader):
    """Where nothing is drawn, the place itself is read, turned by the angle that stands in the index."""
    rows = np.arange(8)
    expected = cut_patches(
        reader.store.frame("a"), reader.center_px[rows], patch_px=SIDE, angle_deg=reader.index.angle_deg[rows]
    )
    assert np.abs(reader.read(rows, Distortion.plain(8)).astype(int) - expected).max() <= 1
