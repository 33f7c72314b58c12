"""Laws of cutting: a patch is what array slicing gives, turned as said; nothing is invented beyond the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from build import an_image
from mitosieve.geometry import Region, rescale_points
from mitosieve.patch.augment.variant import AugmentConfig, Variant, draw_variants
from mitosieve.patch.cutting import cut_patches, margin_for, two_views
from mitosieve.patch.frames import Frame, FrameConfig, FrameStore, Look, render
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.reader import PatchReader
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.slide import open_slide

SIDE = 16
MIDDLE = (SIDE - 1) / 2
GLASS = (240, 241, 239)


def noise(width=90, height=80, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def a_frame(pixels, margin=0):
    """A frame whose place (0, 0) is pixels[margin, margin]."""
    return Frame(pixels=pixels, origin_px=(-margin, -margin))


def cut(frame, x, y, *, side=SIDE, angle=None, mirrored=None):
    """The patch with its first column at x and its first row at y, before turning."""
    return cut_patches(
        frame,
        np.array([[x, y]], dtype=float) + (side - 1) / 2,
        patch_px=side,
        angle_deg=None if angle is None else np.array([angle], dtype=float),
        mirrored=None if mirrored is None else np.array([mirrored]),
    )[0]


@given(st.integers(-5, 60), st.integers(-5, 50), st.integers(0, 5), st.integers(1, 11).map(lambda half: 2 * half))
def test_a_whole_place_is_a_slice(x, y, margin, side):
    """At a place whose window starts at a whole pixel the patch is the array's slice, in px of the slide's lattice."""
    pixels = noise()
    x, y = max(x, -margin), max(y, -margin)
    expected = pixels[y + margin : y + margin + side, x + margin : x + margin + side]
    assert (cut(a_frame(pixels, margin), x, y, side=side) == expected).all()


@pytest.mark.parametrize("side", [16, 15])
@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_quarter_turns_and_mirrors_are_exact(side, quarter, mirrored):
    """The axes turn counter-clockwise as seen, so the cell turns clockwise: np.rot90 by -angle; a mirror comes last."""
    frame = a_frame(noise())
    turned = np.rot90(cut(frame, 30, 25, side=side), k=-quarter)
    expected = turned[:, ::-1] if mirrored else turned
    assert (cut(frame, 30, 25, side=side, angle=90 * quarter, mirrored=mirrored) == expected).all()


def test_the_patch_axis_turns_counter_clockwise_as_seen():
    """Turned by 30 degrees, a dot up and to the right of the centre by 30 degrees lies on the patch's x axis."""
    pixels = np.zeros((121, 121, 3), dtype=np.uint8)
    x, y = 60 + 40 * np.cos(np.pi / 6), 60 - 40 * np.sin(np.pi / 6)
    pixels[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    patch = cut_patches(a_frame(pixels), np.array([[60.0, 60.0]]), patch_px=101, angle_deg=np.array([30.0]))[
        0, ..., 0
    ].astype(float)
    rows, columns = np.indices(patch.shape)
    center = np.array([(patch * columns).sum(), (patch * rows).sum()]) / patch.sum()
    assert np.abs(center - [50 + 40, 50]).max() < 0.6


@given(st.floats(-0.49, 0.49), st.floats(-0.49, 0.49), st.sampled_from([16, 15]), st.integers(0, 3), st.booleans())
def test_a_place_between_pixels_has_the_nearest_pixels_of_the_frame(dx, dy, side, quarter, mirrored):
    """Whatever the fraction, a patch that is turned by right angles or not at all is a slice, as sharp as any other."""
    pixels = noise()
    expected = np.rot90(pixels[30 : 30 + side, 20 : 20 + side], k=-quarter)
    expected = expected[:, ::-1] if mirrored else expected
    found = cut(a_frame(pixels), 20 + dx, 30 + dy, side=side, angle=90 * quarter, mirrored=mirrored)
    assert (found == expected).all()


@given(st.integers(16, 40), st.integers(16, 40), st.floats(-1e-7, 1e-7), st.integers(-100_000, 100_000))
def test_halfway_between_two_slices_the_later_one_is_cut(x, y, error, far):
    """At whole px an even patch fits two slices equally: rounding errors and the frame's origin do not choose."""
    pixels = noise()
    frame = Frame(pixels=pixels, origin_px=(far, -far))
    found = cut_patches(frame, np.array([[x + far + error, y - far - error]]), patch_px=SIDE)[0]
    assert (found == pixels[y - 7 : y + 9, x - 7 : x + 9]).all()


@given(st.floats(1, 89), st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
@settings(max_examples=25)
def test_a_turned_patch_is_interpolated_by_its_kernel(angle, dx, dy):
    """Where values bend little, every kernel gives what lies at the turned places, to the warp's 1/32 px."""
    rows, columns = np.indices((80, 90))
    waves = [np.sin(columns / 11 + rows / 17), np.cos(columns / 13 - rows / 19), np.sin(rows / 12)]
    pixels = np.round(128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    across, down = np.meshgrid(np.arange(SIDE) - MIDDLE, np.arange(SIDE) - MIDDLE)
    x, y = 45 + dx + cos * across + sin * down, 40 + dy - sin * across + cos * down
    expected = 128 + 100 * np.stack([np.sin(x / 11 + y / 17), np.cos(x / 13 - y / 19), np.sin(y / 12)], axis=-1)
    for kernel in ("linear", "cubic", "lanczos"):
        found = cut_patches(
            a_frame(pixels),
            np.array([[45 + dx, 40 + dy]]),
            patch_px=SIDE,
            angle_deg=np.array([angle]),
            interpolation=kernel,
        )
        assert np.abs(found[0] - expected).max() < 2


@settings(max_examples=25)
@given(st.floats(0, 360), st.floats(-16, 16), st.floats(-16, 16), st.booleans())
def test_a_flat_frame_gives_flat_patches(angle, dx, dy, mirrored):
    """Within the margin for its side and shift, a turned patch meets nothing but the frame: also at the corners."""
    margin = margin_for(SIDE, 16)
    pixels = np.full((40 + 2 * margin, 50 + 2 * margin, 3), (200, 100, 50), dtype=np.uint8)
    pixels[0, 0] = 0  # what lies beyond the margin would be black
    for x, y in ((0, 0), (49, 0), (0, 39), (49, 39)):
        found = cut(a_frame(pixels, margin), x - MIDDLE + dx, y - MIDDLE + dy, angle=angle, mirrored=mirrored)
        assert (found == (200, 100, 50)).all()


@pytest.mark.parametrize(("mpp_l0", "mpp"), [(0.25, 0.25), (0.2273, 0.25)])
@pytest.mark.parametrize("angle", [None, 33.0])
def test_beyond_the_image_there_is_glass_and_no_mirror(tmp_path, mpp_l0, mpp, angle):
    """Over the border there is the background's colour, never the image reflected, but for the kernel's reach."""
    pixels = np.zeros((60, 70, 3), dtype=np.uint8) + np.arange(70, dtype=np.uint8)[None, :, None]
    slide = PlainSlide(slide_id="s", path=tmp_path / "s.png", mpp=mpp_l0, pixels=pixels)
    look = Look(transform=None, background=np.array(GLASS, dtype=np.uint8), glass=np.array(GLASS, dtype=np.uint8))
    frame = render(slide, slide.bounds, mpp=mpp, margin_px=margin_for(SIDE), look=look)
    height, width = (side - 2 * margin_for(SIDE) for side in frame.pixels.shape[:2])
    for x, y in ((-0.5, 20), (width - 0.5, 20), (20, -0.5), (20, height - 0.5), (-0.5, -0.5)):
        patch = cut(frame, x - MIDDLE, y - MIDDLE, angle=angle)
        rows, columns = np.indices((SIDE, SIDE)) - MIDDLE
        cos, sin = np.cos(np.deg2rad(angle or 0)), np.sin(np.deg2rad(angle or 0))
        at_x, at_y = x + cos * columns + sin * rows, y - sin * columns + cos * rows
        reach = 1 if angle is None else 2  # the default kernel sees two pixels to each side
        outside = (at_x <= -reach) | (at_y <= -reach) | (at_x >= width + reach - 1) | (at_y >= height + reach - 1)
        inside = (at_x >= 0) & (at_y >= 0) & (at_x <= width - 1) & (at_y <= height - 1)
        assert outside.any()
        assert (patch[outside] == GLASS).all()
        assert (patch[inside] < 100).all()


def test_far_beyond_the_frame_there_is_its_corner_colour():
    """A place the frame does not reach at all is filled with the colour of its top left corner."""
    pixels = noise()
    pixels[0, 0] = GLASS
    for x, y, angle in ((-500, 10, 0), (500, 10, 45), (10, -500, None), (10.5, 900, None)):
        assert (cut(a_frame(pixels), x, y, angle=angle) == GLASS).all()


def test_two_views():
    """First the patch halved by the mean of 2 x 2 px, then its middle at full scale."""
    patches = np.stack([noise(128, 128, seed) for seed in range(2)])
    views = two_views(patches)
    assert views.shape == (2, 64, 64, 6)
    mean = patches.reshape(2, 64, 2, 64, 2, 3).astype(float).mean(axis=(2, 4))
    assert np.abs(views[..., :3] - mean).max() <= 0.5
    assert (views[..., 3:] == patches[:, 32:96, 32:96]).all()


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Two slides of different mpp in a store, and places on both, some at the border."""
    folder = tmp_path_factory.mktemp("slides")
    store = FrameStore(folder / "frames", FrameConfig(stain="none"), margin_px=margin_for(SIDE, 16))
    mpp_l0 = {"a": 0.25, "b": 0.2273}
    parts = []
    for name, mpp in mpp_l0.items():
        path = folder / f"{name}.png"
        an_image(path, width=120, height=100, seed=len(parts), dots=[(30, 40), (90, 80)])
        store.add(name, lambda path=path, mpp=mpp: open_slide(path, mpp=mpp), None)
        places = np.random.default_rng(1).uniform(0, 100, (7, 2))
        parts.append(PatchIndex.of(slide_id=name, center_l0=places, origin=Origin.BACKGROUND, mpp=0.25))
    return PatchReader(PatchIndex.concatenate(parts), store, mpp_l0, patch_px=SIDE)


@given(st.permutations(range(14)))
@settings(max_examples=10)
def test_rows_are_read_in_the_order_asked_for(reader, order):
    """A row's patch under its variant does not depend on its company: permuting rows permutes patches."""
    config = AugmentConfig(flip=True, stain=0.2, brightness=0.1)
    drawn, order = draw_variants(14, config, np.random.default_rng(2)), np.array(order)
    permuted = Variant(**{name: getattr(drawn, name)[order] for name in Variant.__dataclass_fields__})
    whole = reader.read(np.arange(14), drawn)
    assert (reader.read(order, permuted) == whole[order]).all()


def test_a_plain_variant_reads_the_place_itself(reader):
    """Unvaried, a patch is cut at the row's place in px of the index's mpp; a repeated row is read alike."""
    patches = reader.read(np.array([9, 2, 9]), Variant.plain(3))
    for row, patch in zip((9, 2, 9), patches, strict=True):
        name = str(reader.index.slide_id[row])
        mpp = {"a": 0.25, "b": 0.2273}[name]
        center = rescale_points(reader.index.center_l0[[row]], mpp_from=mpp, mpp_to=0.25)
        assert (patch == cut_patches(reader.store.frame(name), center, patch_px=SIDE)[0]).all()


def test_a_fixed_angle_of_the_index_adds_to_the_variants(reader):
    """Places that are in the index with an angle are turned by it, and further by the variant."""
    places = np.full((2, 2), 50.5)
    index = PatchIndex.of(
        slide_id="a", center_l0=places, origin=Origin.FIGURE, mpp=0.25, angle_deg=np.array([0.0, 90.0])
    )
    turning = PatchReader(index, reader.store, {"a": 0.25}, patch_px=SIDE)
    plain = Variant.plain(2)
    patches = turning.read(np.arange(2), plain)
    assert (patches[1] == np.rot90(patches[0], k=-1)).all()
    more = Variant(
        shift_px=plain.shift_px,
        angle_deg=np.array([180.0, 90.0]),
        mirrored=plain.mirrored,
        gain=plain.gain,
        light=plain.light,
    )
    patches = turning.read(np.arange(2), more)
    assert (patches[0] == patches[1]).all()


def test_a_shift_is_in_px_of_the_network(reader):
    """A variant's shift of whole px reads the slice that many px farther, whatever the slide's own mpp."""
    places = np.full((1, 2), 50.5)
    for name, mpp in (("a", 0.25), ("b", 0.2273)):
        center_l0 = rescale_points(places, mpp_from=0.25, mpp_to=mpp)
        index = PatchIndex.of(slide_id=name, center_l0=center_l0, origin=Origin.FIGURE, mpp=0.25)
        plain = Variant.plain(1)
        shifted = Variant(
            shift_px=np.array([[3.0, -2.0]]),
            angle_deg=plain.angle_deg,
            mirrored=plain.mirrored,
            gain=plain.gain,
            light=plain.light,
        )
        patch = PatchReader(index, reader.store, {name: mpp}, patch_px=SIDE).read(np.arange(1), shifted)[0]
        frame = reader.store.frame(name)
        x, y = 43 + 3 - frame.origin_px[0], 43 - 2 - frame.origin_px[1]
        assert (patch == frame.pixels[y : y + SIDE, x : x + SIDE]).all()


def test_the_margin_holds_any_turn():
    """The margin is at least half a diagonal and the shift; a region's own pixels never need more."""
    for side in (16, 64, 128):
        assert margin_for(side, 16) >= side / 2 * np.sqrt(2) + 16
    assert Region(x=0, y=0, w=1, h=1).grow(margin_for(16)).w >= 16 * np.sqrt(2)
