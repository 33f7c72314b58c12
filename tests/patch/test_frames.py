"""Laws of rendering: parts equal the whole, and training and detection see one picture."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from build import an_image
from mitosieve.geometry import Region, lattice, tiles_over
from mitosieve.patch import frames
from mitosieve.patch.cutting import cut_patches, margin_for
from mitosieve.patch.frames import FrameConfig, FrameStore, Look, fit_target, look_at, render, sample_pixels
from mitosieve.slide.plain import PlainSlide
from mitosieve.slide.slide import open_slide
from mitosieve.slide.stain import apply_transform, reference_profile

GLASS = np.array((240, 241, 239), dtype=np.uint8)
BARE = Look(transform=None, background=GLASS, glass=GLASS)


def a_slide(pixels, mpp=0.2273):
    return PlainSlide(slide_id="s", path="s.png", mpp=mpp, pixels=pixels)


def textured(width=150, height=130, seed=0):
    return np.random.default_rng(seed).integers(40, 220, (height, width, 3), dtype=np.uint8)


def stained(width=300, height=200, seed=0):
    """Pixels of haematoxylin and eosin in known amounts, with some glass."""
    generator = np.random.default_rng(seed)
    share = generator.beta(0.5, 0.5, width * height)
    amount = generator.uniform(0.3, 1.0, len(share))[:, None] * np.column_stack([share, 1 - share]) * (2.0, 1.0)
    amount[: len(share) // 4] = 0
    od = amount @ reference_profile().matrix.T
    return np.clip(np.round(256 * np.exp(-od) - 1), 0, 255).astype(np.uint8).reshape(height, width, 3)


@settings(max_examples=25)
@given(
    st.integers(1, 150),
    st.integers(1, 130),
    st.integers(20, 70),
    st.integers(0, 40),
    st.sampled_from([0.25, 0.2273, 0.5, 0.1]),
)
def test_tiles_equal_the_whole(width, height, core, margin, mpp):
    """A slide rendered tile by tile, each with its margin, equals the slide rendered whole, up to one grey level."""
    slide = a_slide(textured()[:height, :width])
    whole = render(slide, slide.bounds, mpp=mpp, margin_px=margin, look=BARE)
    for tile in tiles_over(slide.bounds, core=core, margin=0):
        part = render(slide, tile.core, mpp=mpp, margin_px=margin, look=BARE)
        x, y = np.array(part.origin_px) - whole.origin_px
        expected = whole.pixels[y : y + part.pixels.shape[0], x : x + part.pixels.shape[1]]
        assert expected.shape == part.pixels.shape
        assert np.abs(part.pixels.astype(int) - expected).max(initial=0) <= 1


def test_at_its_own_mpp_a_slide_is_rendered_as_it_is():
    """No pixel changes; the margin all round has the background's colour, the corner included."""
    pixels = textured()
    frame = render(a_slide(pixels), a_slide(pixels).bounds, mpp=0.2273, margin_px=7, look=BARE)
    assert frame.origin_px == (-7, -7)
    assert (frame.pixels[7:-7, 7:-7] == pixels).all()
    outer = np.ones(frame.pixels.shape[:2], dtype=bool)
    outer[7:-7, 7:-7] = False
    assert (frame.pixels[outer] == GLASS).all()


def test_the_margin_inside_a_slide_is_the_slide():
    """Where a region's margin lies on the slide it shows the slide, not the background."""
    pixels = textured()
    frame = render(a_slide(pixels), Region(x=50, y=40, w=30, h=20), mpp=0.2273, margin_px=25, look=BARE)
    assert frame.origin_px == (25, 15)
    assert (frame.pixels == pixels[15:85, 25:105]).all()


def test_a_place_stays_where_it_is_at_another_mpp():
    """A dot lies in the frame where its centre in um says, to a quarter pixel."""
    pixels = np.full((200, 260, 3), 230, dtype=np.uint8)
    rows, columns = np.indices(pixels.shape[:2])
    pixels[(columns - 180) ** 2 + (rows - 90) ** 2 < 40] = 20
    for mpp in (0.25, 0.4):
        frame = render(a_slide(pixels), a_slide(pixels).bounds, mpp=mpp, margin_px=9, look=BARE)
        dark = 235 - np.minimum(frame.pixels[..., 0], 235).astype(float)
        dark[dark < 20] = 0
        found = (
            np.array([(dark.sum(axis=1 - axis) * np.arange(dark.shape[axis])).sum() for axis in (1, 0)]) / dark.sum()
        )
        expected = (np.array([180, 90]) + 0.5) * 0.2273 / mpp - 0.5
        assert np.abs(found + frame.origin_px - expected).max() < 0.25


def test_a_slide_is_rendered_once(tmp_path):
    """What is in the store is not opened again; what was added is there under its own name, with its size."""
    opened = []
    names = ["case 1/a", "case 1_a", "ü"]
    store = FrameStore(tmp_path / "frames", FrameConfig(stain="none"), margin_px=5)
    for number, name in enumerate(names):
        pixels = textured(40 + number, 30)

        def open_it(name=name, pixels=pixels):
            opened.append(name)
            return a_slide(pixels, mpp=0.25)

        for again in (store, store, FrameStore(store.folder, store.config, margin_px=5)):
            again.add(name, open_it, None)
            assert (again.frame(name).pixels[5:-5, 5:-5] == pixels).all()
            assert again.size_px(name) == (40 + number, 30)
            assert again.frame(name).origin_px == (-5, -5)
    assert opened == names


@pytest.mark.parametrize(("target", "most"), [(None, 1), (reference_profile(), 4)])
def test_training_and_detection_see_the_same_pixels(tmp_path, target, most):
    """Patches of a stored frame equal those of any rendered part that holds them, up to one grey level.

    A stain transform comes after that rounding, so it may stretch the level to a few; hardly a pixel is concerned.
    """
    path = tmp_path / "slide.png"
    an_image(path, width=330, height=260, dots=[(100, 90), (200, 160)])
    store = FrameStore(tmp_path / "frames", FrameConfig(), margin_px=margin_for(64, 16))
    store.add("s", lambda: open_slide(path, mpp=0.2273), target)
    differing = []
    with open_slide(path, mpp=0.2273) as slide:
        look = look_at(slide, target)
        for tile in tiles_over(slide.bounds, core=120, margin=0):
            part = render(slide, tile.core, mpp=0.25, margin_px=margin_for(64, 16), look=look)
            owned = lattice(tile.core, mpp_l0=0.2273, mpp=0.25)
            centers = np.array([[owned.x, owned.y], [owned.x + owned.w - 1, owned.y + owned.h - 1]]) + 0.5
            trained = cut_patches(store.frame("s"), centers, patch_px=64).astype(int)
            differing.append(np.abs(cut_patches(part, centers, patch_px=64) - trained))
    assert np.max(differing) <= most
    assert np.mean(np.array(differing) > 0) < 0.02


NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="/\\\0"), min_size=1, max_size=300)


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True))
@example(["case\u20137", "case 137"])
@example(["a" * 299 + "b", "a" * 299 + "c"])
def test_each_slide_has_its_own_file(names):
    """Whatever it is called: no two slides share one, and a disk takes each; plain names stand as they are."""
    store = FrameStore(Path("frames"), FrameConfig(), margin_px=0)
    files = {store._file(name).name for name in names}
    assert len(files) == len(names)
    assert max(len(file.encode()) for file in files) <= 255
    assert store._file("case_1-a.b").name == "case_1-a.b.npy"


def test_the_target_is_kept(tmp_path):
    """A stored target comes back as it was, also where there is none; before it is stored there is no file."""
    store = FrameStore(tmp_path, FrameConfig(), margin_px=0)
    with pytest.raises(FileNotFoundError):
        store.load_target()
    store.save_target(None)
    assert store.load_target() is None
    target = fit_target([lambda: a_slide(stained(seed=1)), lambda: a_slide(stained(seed=2))])
    assert target is not None
    store.save_target(target)
    again = store.load_target()
    assert again is not None
    assert (again.matrix == target.matrix).all()
    assert (again.max_concentration == target.max_concentration).all()


@pytest.mark.parametrize("value", [255, 243, 0])
def test_a_slide_without_tissue_is_left_as_it_is(value):
    """Empty glass or a black frame has no stain to tell: no target, no transform, finite pixels."""
    slide = a_slide(np.full((90, 100, 3), value, dtype=np.uint8))
    assert fit_target([lambda: slide]) is None
    look = look_at(slide, reference_profile())
    assert look.transform is None
    frame = render(slide, slide.bounds, mpp=0.25, margin_px=4, look=look)
    assert (frame.pixels[4:-4, 4:-4] == value).all()
    assert look.background.tolist() == [value or 242] * 3


def test_the_background_is_seen_through_the_same_transform():
    """The margin's colour is the slide's glass after the slide's own transform, as its pixels are."""
    pixels = stained(seed=3)
    slide = a_slide(pixels, mpp=0.25)
    look = look_at(slide, reference_profile())
    assert look.transform is not None
    frame = render(slide, slide.bounds, mpp=0.25, margin_px=3, look=look)
    assert (frame.pixels[3:-3, 3:-3] == apply_transform(pixels, look.transform)).all()
    assert (frame.pixels[0, 0] == look.background).all()
    assert look.background.min() > 240


def test_a_large_slide_is_judged_by_its_tissue(monkeypatch):
    """Above the limit a fixed sample of tissue stands for the slide, glass left out; below it, every pixel."""
    pixels = textured(150, 130)
    assert (sample_pixels(a_slide(pixels)) == pixels).all()
    glass = np.full((4096, 1024, 3), 245, dtype=np.uint8)
    glass[1024:2048, :512] = np.tile(stained(seed=3), (9, 5, 1))[:1024, :512]
    monkeypatch.setattr(frames, "SMALL_PX", 1000)
    shown = sample_pixels(a_slide(glass, mpp=0.5))
    assert shown.shape == (1, 1024 * 512, 3)
    assert (shown.max(axis=2) < 245).mean() > 0.6
    assert sample_pixels(a_slide(glass[2048:], mpp=0.5)).shape == (1, 0, 3)
