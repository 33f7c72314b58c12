"""Batches of several views: what a step gives, whoever asks and in whatever order."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from mitosieve.method.dasc.method import gather
from mitosieve.patch.augment.distortion import DistortionConfig
from mitosieve.patch.frames import FrameStore
from mitosieve.patch.index import Origin
from mitosieve.train.feed import Feed
from mitosieve.train.sampler import EpochSampler, RatioSampler
from small_dasc import a_cohort, a_job, a_recipe

STEPS = 14


@pytest.fixture(scope="module")
def ready(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views")
    return a_job(a_cohort(folder / "cohort", cases=3), folder / "run"), a_recipe()


def pool_of(ready):
    recipe, job = ready[1], ready[0]
    return gather(recipe, job, FrameStore(job.file("frames"), recipe.frame, margin_px=recipe.margin_px)).train


def views_feed(ready, labels=None):
    """A feed of two views in epochs, with a store, a pool and a sampler of its own."""
    pool = pool_of(ready)
    return Feed(
        pool=pool,
        sampler=EpochSampler(np.arange(len(pool.places)), batch_size=8, seed=1, purpose="memory"),
        augments=(ready[1].weak, ready[1].strong),
        streams=("memory view 1", "memory view 2"),
        target=pool.index.label if labels is None else labels,
        seed=1,
        places=True,
    )


def patch_feed(ready):
    pool = pool_of(ready)
    kinds = {kind.value: pool.places.with_origin(kind) for kind in (Origin.FIGURE, Origin.BACKGROUND)}
    return Feed(
        pool=pool,
        sampler=RatioSampler(kinds, dict.fromkeys(kinds, 1.0), batch_size=8, seed=1),
        augments=(ready[1].search.augment,),
        streams=("screening variants",),
        target=pool.index.label,
        seed=1,
    )


def equal(one, other):
    pairs = [(one.image, other.image), (one.target, other.target), (one.row, other.row)]
    if one.place_px is not None:
        pairs.append((one.place_px, other.place_px))
    return all(np.array_equal(first, second) for first, second in pairs)


@pytest.mark.parametrize("make", [views_feed, patch_feed])
def test_four_threads_in_any_order_get_what_one_gets_in_turn(ready, make):
    """A batch is its step's, also where epochs and laps of the cards end between steps."""
    alone = make(ready)
    expected = [alone.batch(step) for step in range(STEPS)]
    shared = make(ready)
    asked = np.random.default_rng(3).permutation(np.tile(np.arange(STEPS), 3)).tolist()
    with ThreadPoolExecutor(max_workers=4) as readers:
        found = list(readers.map(shared.batch, asked))
    assert all(equal(batch, expected[step]) for step, batch in zip(asked, found, strict=True))


def test_a_batch_holds_its_views_one_after_another(ready):
    """Two pictures of each row in the channels, two places, and whatever is to be learned of the row."""
    target = np.arange(1000)
    feed = views_feed(ready, target)
    batch = feed.batch(2)
    side = ready[1].network.input_px
    assert batch.image.shape == (8, side, side, 6)
    assert batch.place_px is not None
    assert batch.place_px.shape == (8, 2, 2)
    assert batch.target.tolist() == batch.row.tolist()
    assert (batch.image[..., :3] != batch.image[..., 3:]).any(axis=(1, 2, 3)).all()
    assert not equal(batch, feed.batch(3))


def test_views_are_drawn_anew_for_each_training_and_view(ready):
    """Two views of one distortion differ, and so do two trainings of one seed."""
    feed = views_feed(ready)
    strong = (ready[1].strong, ready[1].strong)
    one = Feed(**{**vars(feed), "augments": strong}).batch(0)
    streams = ("classifier view 1", "classifier view 2")
    other = Feed(**{**vars(feed), "augments": strong, "streams": streams}).batch(0)
    assert one.row.tolist() == other.row.tolist()
    for first, second in ((one.image[..., :3], one.image[..., 3:]), (one.image, other.image)):
        assert (first != second).any(axis=(1, 2, 3)).all()


def test_a_view_says_where_its_cell_lies(ready):
    """Undistorted, the cell lies from the patch's middle where its mark lies from the place, in px of the patch."""
    still = DistortionConfig(
        shift_px=0, rotate="none", flip=False, scale=(1, 1), p_elastic=0, p_colour=0, p_light=0, p_hed=0,
        p_sharpness=0, p_noise=0, p_jpeg=0,
    )  # fmt: skip
    feed = Feed(**{**vars(views_feed(ready)), "augments": (still, still)})
    batch, places = feed.batch(1), feed.pool.places
    middle = (ready[1].network.input_px - 1) / 2
    expected = middle + places.offset_um[batch.row] / places.index.mpp
    assert np.abs(places.offset_um[batch.row]).max() > 0.2
    for view in range(2):
        np.testing.assert_allclose(batch.place_px[:, view], expected, atol=1e-4)
    marks = ready[0].cohort.annotations.center_l0[places.mark[batch.row]]
    known = places.mark[batch.row] >= 0
    moved = places.index.center_l0[batch.row] + (expected - middle)
    np.testing.assert_allclose(moved[known], marks[known], atol=1e-6)
