"""Laws of the patch index and its ids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.patch.index import Origin, PatchIndex

GOLDEN = {
    ("TUPAC-01/04", 100.0, 250.5, 0.0, 0.25): 2371807962067669183,
    ("TUPAC-01/04", 100.0, 250.5, 37.5, 0.25): -6219561234414537830,
    ("TUPAC-01/04", -3.25, 250.5, 0.0, 0.2273): -1786482594430092214,
}
"""Ids in scores of earlier runs: if these change, old scores no longer fit their places."""


def an_index(slide_id="s", places=((1.0, 2.0),), *, origin=Origin.BACKGROUND, mpp=0.25, angle=None):
    return PatchIndex.of(
        slide_id=slide_id,
        center_l0=np.array(places, dtype=float).reshape(-1, 2),
        origin=origin,
        mpp=mpp,
        angle_deg=None if angle is None else np.array(angle, dtype=float),
    )


@pytest.mark.parametrize("place", GOLDEN)
def test_ids_are_the_documented_ones(place):
    """The id of a place never changes between versions."""
    slide_id, x, y, angle, mpp = place
    assert an_index(slide_id, [(x, y)], angle=[angle], mpp=mpp).patch_id.tolist() == [GOLDEN[place]]


def test_different_places_have_different_ids():
    """A whole grid on several slides, angles and resolutions: no id twice, nor where x and y are exchanged."""
    grid = [(x / 2, y / 2) for x in range(-60, 60) for y in range(-60, 60)]
    parts = [an_index(name, grid, mpp=mpp) for name in ("a", "b", "ab") for mpp in (0.25, 0.2273)]
    parts += [an_index("a", grid, angle=np.full(len(grid), angle)) for angle in (0.01, 90)]
    ids = np.concatenate([part.patch_id for part in parts])
    assert len(np.unique(ids)) == len(ids)


@given(st.permutations(range(4)))
def test_ids_do_not_depend_on_company(order):
    """A place has the same id alone and in any index, wherever its part stands; rows stay aligned."""
    parts = [an_index(f"s{k}", [(k, 1.5), (k + 0.5, 7)], origin=list(Origin)[k]) for k in range(4)]
    whole = PatchIndex.concatenate([parts[k] for k in order])
    for row in range(len(whole)):
        alone = an_index(str(whole.slide_id[row]), whole.center_l0[row], origin=Origin(str(whole.origin[row])))
        assert alone.patch_id[0] == whole.patch_id[row]
        assert alone.label[0] == whole.label[row]
        assert str(whole.slide_id[row]) == f"s{int(whole.center_l0[row, 0])}"


@given(st.integers(0, 2**32 - 1))
def test_rounding_errors_do_not_change_an_id(seed):
    """What another order of arithmetic adds, far below a hundredth of a px, is not in the id; 0 and -0 are one."""
    draw = np.random.default_rng(seed)
    places = np.round(draw.uniform(0, 5000, (20, 2)), 2)
    noise = draw.uniform(-1e-9, 1e-9, places.shape)
    assert (an_index(places=places).patch_id == an_index(places=places + noise).patch_id).all()
    assert (an_index(places=[(0.0, 0.0)]).patch_id == an_index(places=[(-0.0, -0.0)]).patch_id).all()


def test_only_figures_are_labelled_figures():
    """Label 1 is for the origin FIGURE alone; imposters, background and what is unknown have 0."""
    for origin in Origin:
        assert an_index(origin=origin).label.tolist() == [int(origin is Origin.FIGURE)]


def test_rows_by_origin():
    """with_origin gives ascending rows, count their number, and picking rows keeps columns aligned."""
    index = PatchIndex.concatenate(
        [an_index("a", [(0, 0), (1, 1)]), an_index("b", [(2, 2)], origin=Origin.FIGURE), an_index("c", [(3, 3)])]
    )
    assert index.with_origin(Origin.BACKGROUND).tolist() == [0, 1, 3]
    assert index.count() == {"figure": 1, "imposter": 0, "background": 3, "near": 0, "unlabelled": 0}
    picked = index[np.array([3, 2])]
    assert (picked.slide_id.tolist(), picked.label.tolist()) == (["c", "b"], [0, 1])
    assert (picked.patch_id == index.patch_id[[3, 2]]).all()


def test_one_index_one_resolution():
    """Parts of different resolutions, or no part, make no index."""
    with pytest.raises(ValueError, match="resolution"):
        PatchIndex.concatenate([an_index(), an_index(mpp=0.5)])
    with pytest.raises(ValueError, match="resolution"):
        PatchIndex.concatenate([])
