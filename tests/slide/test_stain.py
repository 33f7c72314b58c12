"""Laws of stain estimation and normalisation."""

import json

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import FormatError
from mitosieve.slide.stain import (
    EOSIN_OD,
    HAEMATOXYLIN_OD,
    OD_OF_VALUE,
    MacenkoConfig,
    StainProfile,
    apply_transform,
    average_profiles,
    estimate_profile,
    od_transform,
    reference_profile,
)


def a_matrix(tilt=0.0):
    """Ruifrok's vectors, turned a little by `tilt`."""
    matrix = np.array([HAEMATOXYLIN_OD, EOSIN_OD]).T + tilt * np.array([[-0.5, 0.5], [0.3, -0.5], [0.6, 1.5]])
    return matrix / np.linalg.norm(matrix, axis=0)


def a_mixture(matrix, maxima=(2.0, 1.0), *, seed=0, count=40_000, glass=0.2):
    """Pixels of two stains with known matrix; some nearly pure, some glass. Returns uint8 (200, n, 3)."""
    generator = np.random.default_rng(seed)
    share = generator.beta(0.5, 0.5, count)
    amount = generator.uniform(0.3, 1.0, count)[:, None] * np.column_stack([share, 1 - share]) * maxima
    amount[: int(glass * count)] = 0
    generator.shuffle(amount)
    return pixels_of(amount @ matrix.T).reshape(200, -1, 3)


def pixels_of(od):
    return np.clip(np.rint(256 * np.exp(-od) - 1), 0, 255).astype(np.uint8)


def angle_deg(a, b):
    return np.degrees(np.arccos(np.clip(a @ b, -1, 1)))


@pytest.mark.parametrize("tilt", [0.0, 0.1, 0.2])
def test_known_matrix_is_recovered(tilt):
    """The matrix and maxima that made a mixture are found again."""
    matrix = a_matrix(tilt)
    profile = estimate_profile(a_mixture(matrix))
    assert profile is not None
    assert max(angle_deg(profile.matrix[:, k], matrix[:, k]) for k in (0, 1)) < 2.0
    assert profile.max_concentration == pytest.approx([1.88, 0.94], rel=0.03)  # 99 % of the amounts drawn are below
    assert np.linalg.norm(profile.matrix, axis=0) == pytest.approx(1.0)


def test_amounts_do_not_swap_the_stains():
    """Haematoxylin stays the first column however little of it there is."""
    for maxima in ((0.6, 2.0), (3.0, 0.6)):
        profile = estimate_profile(a_mixture(a_matrix(), maxima))
        assert profile is not None
        assert angle_deg(profile.matrix[:, 0], a_matrix()[:, 0]) < 5.0


def test_estimate_does_not_depend_on_layout_or_run():
    """A list of pixels and an image of them give one profile, and so do two runs."""
    image = a_mixture(a_matrix(0.1))
    assert estimate_profile(image) == estimate_profile(image.reshape(-1, 3)) == estimate_profile(image)


def test_large_images_are_sampled():
    """Repeating an image until it is over the sample limit hardly moves the estimate."""
    image = a_mixture(a_matrix(0.1))
    small, large = estimate_profile(image), estimate_profile(np.tile(image, (4, 5, 1)))
    assert small is not None
    assert large is not None
    assert max(angle_deg(small.matrix[:, k], large.matrix[:, k]) for k in (0, 1)) < 0.5


@pytest.mark.parametrize("value", [0, 1, 19, 60, 128, 200, 254, 255])
def test_constant_images_have_no_profile(value):
    """One grey value, be it glass, padding or ink, is no tissue and raises nothing."""
    assert estimate_profile(np.full((64, 64, 3), value, dtype=np.uint8)) is None


@pytest.mark.parametrize("vector", [HAEMATOXYLIN_OD, EOSIN_OD, (0.27, 0.57, 0.78)])
def test_one_stain_alone_has_no_profile(vector):
    """A slide of a single dye gives no second direction, so there is no estimate."""
    amounts = np.random.default_rng(0).uniform(0.2, 2.0, 20_000)
    assert estimate_profile(pixels_of(amounts[:, None] * np.array(vector)).reshape(100, 200, 3)) is None


def test_blue_and_green_ink_have_no_profile():
    """Pens that are not haematoxylin and eosin are refused instead of being fitted."""
    inks = np.array([[1.0, 0.05, 0.6], [0.9, 0.8, 0.05]]).T
    assert estimate_profile(a_mixture(inks / np.linalg.norm(inks, axis=0))) is None


def test_too_little_tissue_has_no_profile():
    """Glass with a speck of tissue is left alone; empty images too."""
    image = np.full((400, 400, 3), 240, dtype=np.uint8)
    image[:20, :20] = a_mixture(a_matrix(), glass=0.0)[:20, :20]
    assert estimate_profile(image) is None
    assert estimate_profile(np.zeros((0, 3), dtype=np.uint8)) is None
    assert estimate_profile(image, MacenkoConfig(min_tissue_fraction=0.001, min_tissue_px=100)) is not None


def test_black_padding_does_not_count():
    """Padding half the image with black leaves the profile as it was."""
    image = a_mixture(a_matrix(0.1))
    padded = np.concatenate([image, np.zeros_like(image)])
    plain, other = estimate_profile(image), estimate_profile(padded)
    assert plain is not None
    assert other is not None
    assert other.matrix == pytest.approx(plain.matrix, abs=0.01)
    assert other.max_concentration == pytest.approx(plain.max_concentration, rel=0.02)


def test_transform_matches_the_plain_formula():
    """The table-driven pixels equal exp(-T @ OD) up to one grey level."""
    generator = np.random.default_rng(1)
    rgb = generator.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    for _ in range(5):
        transform = np.eye(3) + generator.normal(0, 0.3, (3, 3))
        expected = pixels_of(OD_OF_VALUE[rgb] @ transform.T).astype(int)
        assert np.abs(apply_transform(rgb, transform).astype(int) - expected).max() <= 1


def test_normalising_moves_one_stain_to_the_other():
    """A pixel of amounts (a, b) in the source becomes the pixel of the same share of the target's maxima."""
    source = StainProfile(a_matrix(0.0), np.array([2.0, 1.0]))
    target = StainProfile(a_matrix(0.2), np.array([1.5, 1.2]))
    amounts = np.random.default_rng(2).uniform(0, 1, (5000, 2))
    before = pixels_of((amounts * source.max_concentration) @ source.matrix.T)
    after = apply_transform(before, od_transform(source, target)).astype(int)
    expected = pixels_of((amounts * target.max_concentration) @ target.matrix.T).astype(int)
    assert np.abs(after - expected).max() <= 4
    assert np.abs(after - expected).mean() < 0.6


@given(st.integers(0, 2**32 - 1))
def test_own_profile_changes_nothing(seed):
    """Normalising a slide to its own profile gives its pixels back, off the stain plane too."""
    generator = np.random.default_rng(seed)
    profile = StainProfile(a_matrix(generator.uniform(0, 0.2)), generator.uniform(0.5, 3, 2))
    rgb = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    assert np.array_equal(apply_transform(rgb, od_transform(profile, profile)), rgb)


@given(st.integers(0, 2**32 - 1))
def test_white_stays_white(seed):
    """White glass is white after any transform, and nothing is undefined."""
    generator = np.random.default_rng(seed)
    profiles = [StainProfile(a_matrix(generator.uniform(0, 0.2)), generator.uniform(0.1, 5, 2)) for _ in (0, 1)]
    transform = od_transform(profiles[0], profiles[1])
    assert np.isfinite(transform).all()
    assert (apply_transform(np.full((3, 3, 3), 255, dtype=np.uint8), transform) == 255).all()


def test_there_and_back_is_close():
    """A transform and its reverse cancel up to rounding, for pixels that are neither black nor clipped."""
    a = StainProfile(a_matrix(0.0), np.array([2.0, 1.0]))
    b = StainProfile(a_matrix(0.1), np.array([1.6, 1.1]))
    rgb = a_mixture(a.matrix, (1.0, 0.8))
    back = apply_transform(apply_transform(rgb, od_transform(a, b)), od_transform(b, a))
    assert np.abs(back.astype(int) - rgb.astype(int)).max() <= 3


def test_no_profile_means_no_change():
    """A slide without an estimate keeps every pixel, in a new array."""
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    answer = apply_transform(rgb, od_transform(None, reference_profile()))
    assert np.array_equal(answer, rgb)
    assert not np.shares_memory(answer, rgb)


def test_input_is_not_changed_and_views_work():
    """The input keeps its pixels, and a strided view gives what its copy gives."""
    rgb = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = rgb.copy()
    transform = np.eye(3) * 0.8
    assert np.array_equal(apply_transform(rgb[::2, ::-1], transform), apply_transform(rgb[::2, ::-1].copy(), transform))
    assert np.array_equal(rgb, before)
    assert apply_transform(rgb[:0], transform).shape == (0, 20, 3)


def test_gain_is_limited():
    """A pale slide is strengthened by at most a factor of four."""
    pale, strong = StainProfile(a_matrix(), np.array([0.1, 0.1])), StainProfile(a_matrix(), np.array([4.0, 4.0]))
    assert od_transform(pale, strong) @ a_matrix() == pytest.approx(4 * a_matrix())


def test_average_is_robust_and_unit():
    """One odd slide among five does not move the target; columns stay unit."""
    usual = [StainProfile(a_matrix(0.1), np.array([2.0, 1.0]))] * 4
    target = average_profiles([*usual, StainProfile(a_matrix(-0.3), np.array([9.0, 9.0]))])
    assert target.matrix == pytest.approx(usual[0].matrix)
    assert target.max_concentration == pytest.approx([2.0, 1.0])
    with pytest.raises(ValueError, match="no stain profile"):
        average_profiles([])


def test_profile_survives_json():
    """A profile written as JSON text is the same profile, to the last digit."""
    profile = estimate_profile(a_mixture(a_matrix(0.1)))
    assert profile is not None
    assert StainProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


@pytest.mark.parametrize("content", [{}, {"matrix": [[1, 2]], "max_concentration": [1, 1]}, {"matrix": "a"}])
def test_broken_profile_is_refused(content):
    """What is not a profile is named as such."""
    with pytest.raises(FormatError, match="stain profile"):
        StainProfile.from_json(content)


@pytest.mark.parametrize(
    ("matrix", "maxima"), [(np.full((3, 2), np.nan), np.ones(2)), (a_matrix(), np.zeros(2)), (a_matrix().T, np.ones(2))]
)
def test_impossible_profile_is_refused(matrix, maxima):
    """A profile with NaN, no stain or a wrong shape cannot be made."""
    with pytest.raises(ValueError, match=r"profile|maximum"):
        StainProfile(matrix, maxima)


def test_wrong_pixels_or_matrix_are_refused():
    """Floats, grey images and matrices with NaN raise instead of giving wrong colours."""
    rgb = np.zeros((2, 2, 3), dtype=np.uint8)
    for pixels, matrix in ((rgb.astype(float), np.eye(3)), (rgb[..., 0], np.eye(3)), (rgb, np.full((3, 3), np.nan))):
        with pytest.raises(ValueError, match=r"uint8|matrix"):
            apply_transform(pixels, matrix)


@pytest.mark.data
def test_real_frames_have_plausible_profiles(data_folder):
    """Every sampled real frame of seven cases and of other scanners gives a profile."""
    files = sorted((data_folder / "mitos14" / "frames").glob("*.jpg"))[::40]
    files += sorted((data_folder / "unlabelled").rglob("*.jpg"))[::15]
    assert len(files) >= 8
    for file in files:
        profile = estimate_profile(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB))
        assert profile is not None, file.name
        assert angle_deg(profile.matrix[:, 0], profile.matrix[:, 1]) > 12


@pytest.mark.data
def test_normalising_brings_real_cases_together(data_folder):
    """After normalisation the mean tissue colours of different cases lie closer than before."""
    files = [next((data_folder / "mitos14" / "frames").glob(f"{case}_*.jpg")) for case in ("H03", "H04", "H11", "H18")]
    images = [cv2.imread(str(file), cv2.IMREAD_COLOR_RGB) for file in files]
    profiles = [estimate_profile(image) for image in images]
    target = average_profiles([p for p in profiles if p is not None])
    after = [apply_transform(i, od_transform(p, target)) for i, p in zip(images, profiles, strict=True)]
    spread = [
        np.std([np.percentile(i, [1, 50], axis=(0, 1)) for i in group], axis=0).mean() for group in (images, after)
    ]
    assert spread[1] < 0.8 * spread[0]
