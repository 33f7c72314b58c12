"""Laws of variants: how many, how far, and that drawing does not depend on what is switched on."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.patch.augment.variant import AugmentConfig, Variant, draw_variants, paper_variants, recolour

ALL = AugmentConfig(rotate="any", flip=True, stain=0.3, brightness=0.1)


def rng(seed=0):
    return np.random.default_rng(seed)


def equal(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in Variant.__dataclass_fields__)


@given(st.integers(0, 10_000))
def test_a_figure_has_42_fixed_variants(seed):
    """(1 + 5) places x (1 + 6) angles; the first is the figure as it is; no shift exceeds 16 px in x or y."""
    shift, angle = paper_variants(rng(seed))
    assert shift.shape == (42, 2)
    assert angle.shape == (42,)
    assert (shift[0] == 0).all()
    assert angle[0] == 0
    assert np.abs(shift).max() <= 16
    assert len(np.unique(shift, axis=0)) == 6
    assert (angle == 0).sum() == 6
    assert len(np.unique(angle)) == 37


@pytest.mark.parametrize(
    ("rotate", "flip", "negatives", "amount"),
    list(itertools.product(["any", "right", "none"], [False, True], [False, True], [0.0, 0.4])),
)
def test_the_same_numbers_are_drawn_whatever_is_switched_on(rotate, flip, negatives, amount):
    """After a draw the generator stands at the same place, so switching one thing changes that thing alone."""
    config = AugmentConfig(
        rotate=rotate, flip=flip, negatives=negatives, stain=amount, brightness=amount, translate_px=20 * amount
    )
    one, two = rng(), rng()
    drawn, full = draw_variants(9, config, one), draw_variants(9, ALL, two)
    assert one.random() == two.random()
    assert np.allclose(drawn.shift_px * ALL.translate_px, full.shift_px * config.translate_px)
    assert not flip or (drawn.mirrored == full.mirrored).all()


def test_draws_stay_in_their_ranges():
    """Shift, angle, gain and light stay within what is configured, and use it."""
    drawn = draw_variants(4000, ALL, rng())
    assert 15.9 < np.abs(drawn.shift_px).max() <= 16
    assert 0 <= drawn.angle_deg.min() < 1
    assert 359 < drawn.angle_deg.max() < 360
    assert 0.29 < np.abs(drawn.gain - 1).max() <= 0.3
    assert 0.09 < np.abs(drawn.light - 1).max() <= 0.1
    assert 0.45 < drawn.mirrored.mean() < 0.55
    right = draw_variants(400, AugmentConfig(rotate="right"), rng())
    assert np.unique(right.angle_deg).tolist() == [0, 90, 180, 270]
    assert equal(draw_variants(5, AugmentConfig(translate_px=0, rotate="none"), rng()), Variant.plain(5))


def test_only_varies_where_told():
    """Rows that are not to be varied are plain, the others as drawn."""
    drawn, varied = draw_variants(6, ALL, rng()), np.array([True, False, False, True, False, True])
    some = drawn.only(varied)
    for name in Variant.__dataclass_fields__:
        assert (getattr(some, name)[varied] == getattr(drawn, name)[varied]).all()
        assert (getattr(some, name)[~varied] == getattr(Variant.plain(6), name)[~varied]).all()
    assert equal(drawn.only(np.ones(6, dtype=bool)), drawn)
    assert equal(drawn.only(np.zeros(6, dtype=bool)), Variant.plain(6))


def test_recolouring_by_one_changes_nothing():
    """Gains and light of 1 give every value back, also for rows beside others that change."""
    patches = rng().integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    assert (recolour(patches, Variant.plain(2)) == patches).all()
    drawn = draw_variants(2, ALL, rng()).only(np.array([False, True]))
    changed = recolour(patches, drawn)
    assert (changed[0] == patches[0]).all()
    assert (changed[1] != patches[1]).any()


def test_recolouring_scales_optical_density():
    """Each value becomes 255 * light * (v / 255) ** gain of its channel, rounded and clipped; black and order stay."""
    ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    plain = Variant.plain(1)
    variant = Variant(
        shift_px=plain.shift_px,
        angle_deg=plain.angle_deg,
        mirrored=plain.mirrored,
        gain=np.array([[0.5, 1.0, 1.7]]),
        light=np.array([1.08]),
    )
    changed = recolour(ramp, variant)[0].reshape(256, 3)
    for channel, gain in enumerate((0.5, 1.0, 1.7)):
        expected = [min(255, round(255 * 1.08 * (v / 255) ** gain)) for v in range(256)]
        assert changed[:, channel].tolist() == expected
