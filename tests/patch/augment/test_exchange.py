"""Laws of the exchange: statistics go where they are to go, from the generator alone, whatever the class."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mitosieve.patch.augment.exchange import (
    AMOUNTS,
    MAX_GAIN,
    Appearances,
    ExchangeConfig,
    draw_exchange,
    exchange,
    statistics,
)
from mitosieve.slide.stain import OD_OF_VALUE

SIDE = 64
ALWAYS = ExchangeConfig(share=1, stain=(1, 1), sharpness=(0, 0), p_jpeg=0)


def tissue(n, seed, *, colour=(170, 110, 160), spread=25, sigma=1.0):
    """Smooth noise in a colour: patches that differ in stain and sharpness by choice."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(n, SIDE, SIDE, 3)).astype(np.float32)
    noise = np.stack([cv2.GaussianBlur(one, (0, 0), sigma) for one in noise])
    mixed = noise / noise.std() * spread @ np.array([[1, 0.5, 0.4], [0, 0.8, 0.3], [0, 0, 0.6]])
    return np.clip(mixed + colour, 0, 255).astype(np.uint8)


def looks(*patches, sources, jpeg=None):
    mean, covariance, detail = zip(*map(statistics, patches), strict=True)
    return Appearances(
        source=np.array(sources),
        mean=np.array(mean),
        covariance=np.array(covariance),
        detail=np.array(detail),
        jpeg=np.zeros(len(sources), dtype=np.int64) if jpeg is None else np.array(jpeg),
    )


ONE, OTHER = tissue(30, 1), tissue(30, 2, colour=(200, 140, 190), spread=15, sigma=1.3)
TWO = looks(ONE, OTHER, sources=["a", "b"])


def rng(seed=0):
    return np.random.default_rng(seed)


def test_stain_goes_all_the_way():
    """Mean and covariance of OD become the other source's, to what rounding and clipping cost."""
    shown = exchange(ONE, draw_exchange(np.zeros(len(ONE), dtype=np.intp), TWO, ALWAYS, rng()))
    mean, covariance, _ = statistics(shown)
    np.testing.assert_allclose(mean, TWO.mean[1], atol=0.01)
    np.testing.assert_allclose(covariance, TWO.covariance[1], atol=0.1 * np.trace(TWO.covariance[1]))
    assert np.abs(TWO.mean[0] - TWO.mean[1]).min() > 0.1


def test_half_way_is_half_way():
    """With half the amount the mean stands in the middle of both."""
    half = ALWAYS.model_copy(update={"stain": (0.5, 0.5)})
    shown = exchange(ONE, draw_exchange(np.zeros(len(ONE), dtype=np.intp), TWO, half, rng()))
    np.testing.assert_allclose(statistics(shown)[0], TWO.mean.mean(axis=0), atol=0.02)


@pytest.mark.parametrize(("own", "patches"), [(0, ONE), (1, OTHER)])
def test_sharpness_goes_towards_the_others(own, patches):
    """Detail comes nearer to the other source's, from above and from below."""
    config = ExchangeConfig(share=1, stain=(0, 0), sharpness=(1, 1), p_jpeg=0)
    shown = exchange(patches, draw_exchange(np.full(len(patches), own, dtype=np.intp), TWO, config, rng()))
    as_it_is = AMOUNTS.index(0)
    detail = np.log([one[as_it_is] for one in (TWO.detail[own], statistics(shown)[2], TWO.detail[1 - own])])
    assert abs(detail[1] - detail[2]) < 0.5 * abs(detail[0] - detail[2])


def test_the_other_is_of_another_source_and_all_sources_alike():
    """Never the sample's own source; each other one equally often, however many appearances it has."""
    among = looks(ONE, ONE, ONE, OTHER, ONE, sources=["a", "b", "b", "c", "a"], jpeg=[10, 20, 30, 40, 50])
    config = ExchangeConfig(share=1, p_jpeg=1)
    drawn = draw_exchange(np.zeros(6000, dtype=np.intp), among, config, rng())
    count = {quality: float((drawn.jpeg == quality).mean()) for quality in (10, 20, 30, 40, 50)}
    assert count[10] == count[50] == 0
    assert count[40] == pytest.approx(0.5, abs=0.03)
    assert count[20] == pytest.approx(0.25, abs=0.03)
    assert count[30] == pytest.approx(0.25, abs=0.03)


def test_without_another_source_nothing_changes():
    """One source is no exchange; a share of 0 neither; and neutral rows keep their bytes beside others."""
    alone = looks(ONE, OTHER, sources=["a", "a"])
    rows = np.zeros(len(ONE), dtype=np.intp)
    assert (exchange(ONE, draw_exchange(rows, alone, ALWAYS, rng())) == ONE).all()
    assert (exchange(ONE, draw_exchange(rows, TWO, ExchangeConfig(share=0), rng())) == ONE).all()
    drawn = draw_exchange(rows, TWO, ExchangeConfig(share=0.5), rng())
    neutral = (drawn.density == np.eye(3, 4)).all(axis=(1, 2)) & (drawn.sharpness == 0)
    assert 5 < neutral.sum() < 25
    shown = exchange(ONE, drawn)
    assert (shown[neutral] == ONE[neutral]).all()
    assert (shown[~neutral] != ONE[~neutral]).any(axis=(1, 2, 3)).all()


@given(st.integers(0, 50), st.floats(0, 1), st.floats(0, 1))
def test_a_samples_numbers_do_not_hang_on_configuration_or_neighbours(n, share, amount):
    """After a draw the generator stands at the same place, and a sample is the same in a longer batch."""
    one, two = rng(), rng()
    config = ExchangeConfig(share=share, stain=(0, amount))
    short = draw_exchange(np.zeros(n, dtype=np.intp), TWO, config, one)
    draw_exchange(np.zeros(n, dtype=np.intp), TWO, ALWAYS, two)
    assert one.random() == two.random()
    longer = draw_exchange(np.zeros(n + 3, dtype=np.intp), TWO, config, rng())
    assert (longer.density[:n] == short.density).all()
    assert (longer.sharpness[:n] == short.sharpness).all()


def test_what_is_drawn_does_not_hang_on_the_class():
    """Nothing but the appearance of a row enters: equal patches of any class are shown alike."""
    drawn = draw_exchange(np.zeros(8, dtype=np.intp), TWO, ALWAYS, rng())
    same = np.repeat(ONE[:1], 8, axis=0)
    assert (exchange(same, drawn) == exchange(same, drawn)).all()
    assert (drawn.density == drawn.density[0]).all()


def test_gains_are_bounded():
    """However pale one source is, no direction of OD is spread by more than the bound."""
    pale = replace(TWO, covariance=TWO.covariance * np.array([1e-4, 1])[:, None, None])
    for own in (0, 1):
        drawn = draw_exchange(np.full(1, own, dtype=np.intp), pale, ALWAYS, rng())
        value = np.linalg.eigvalsh(drawn.density[0, :, :3])
        assert (value <= MAX_GAIN + 1e-9).all()
        assert (value >= 1 / MAX_GAIN - 1e-9).all()


def test_compression_is_that_of_a_larger_picture():
    """A patch is compressed with its first blocks cut at the phase, as if it had been cut from the file."""
    drawn = draw_exchange(np.zeros(1, dtype=np.intp), replace(TWO, jpeg=np.array([0, 30])), ALWAYS, rng())
    drawn = replace(drawn, density=np.eye(3, 4)[None], jpeg=np.array([30]), phase_px=np.array([[3, 5]]))
    shown = exchange(ONE[:1], drawn)[0].astype(int)
    step = np.abs(np.diff(shown, axis=1)).mean(axis=(0, 2))
    on_edge = np.arange(1, SIDE) % 8 == 3
    assert step[on_edge].mean() > 1.1 * step[~on_edge].mean()


def test_the_middle_and_glass_do_not_count():
    """Statistics are of tissue around the cell: a black middle and white glass change nothing."""
    mean, covariance, _ = statistics(ONE)
    marked = ONE.copy()
    cv2.circle(marked[0], (32, 32), 15, (0, 0, 0), -1)
    assert (statistics(marked)[0] == mean).all()
    glass = np.concatenate([ONE, np.full_like(ONE, 250)])
    np.testing.assert_allclose(statistics(glass)[0], mean)
    np.testing.assert_allclose(statistics(glass)[1], covariance, rtol=1e-3)
    around = OD_OF_VALUE[ONE[:, :8]].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(mean, around, atol=0.05)


def test_a_range_beyond_its_bounds_is_refused():
    """Amounts lie in 0..1, low before high."""
    for stain in ((0.5, 1.5), (0.8, 0.2)):
        with pytest.raises(ValidationError, match="a range is"):
            ExchangeConfig(stain=stain)
