"""The looks of a pool, and a training that exchanges them: a case's slides of one source are one look."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from build import a_cohort
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import SlideError
from mitosieve.patch.augment.exchange import ExchangeConfig, exchange, statistics
from mitosieve.patch.augment.variant import AugmentConfig, Variant
from mitosieve.patch.frames import FrameConfig, FrameStore
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.patch.view import View
from mitosieve.train.appearance import Looks, looks_for
from mitosieve.train.feed import Feed
from mitosieve.train.places import Places
from mitosieve.train.pool import PatchPool

VIEW = View(views="one", patch_px=32)
STILL = AugmentConfig(translate_px=0, rotate="none")


class InTurn:
    def __init__(self, n):
        self.n = n

    def rows(self, step):
        return (np.arange(8) + 8 * step) % self.n


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Places of three cases of two slides; the last case is of another source."""
    folder = tmp_path_factory.mktemp("looks")
    made = a_cohort(folder, cases=3, slides_per_case=2)
    cohort = made.with_entries(lambda e: replace(e, source="far" if e.case_id == "c2" else "near"))
    store = FrameStore(folder / "frames", FrameConfig(stain="none"), margin_px=30)
    parts = []
    for entry in cohort.slides:
        store.add(entry.slide_id, partial(cohort.open, entry.slide_id), None)
        center = np.random.default_rng(1).uniform(20, 280, (10, 2))
        for origin, own in ((Origin.FIGURE, center[:5]), (Origin.BACKGROUND, center[5:])):
            parts.append(PatchIndex.of(slide_id=entry.slide_id, center_l0=own, origin=origin, mpp=0.25))
    places = Places.of_index(PatchIndex.concatenate(parts))
    return PatchPool.of_places(places, store, VIEW, cohort), cohort


def a_feed(pool, cohort, share, looks=None):
    augment = STILL.model_copy(update={"exchange": None if share is None else ExchangeConfig(share=share)})
    looks = looks_for(pool, [np.arange(len(pool.index))], cohort, augment.exchange)
    sampler = InTurn(len(pool.index))
    target = pool.index.label
    return Feed(pool=pool, sampler=sampler, augments=(augment,), streams=("x",), target=target, seed=1, looks=looks)


def all_looks(pool, cohort):
    return Looks.of_rows(pool, np.arange(len(pool.index)), cohort)


def test_what_is_not_learned_from_is_not_looked_at(pool):
    """The looks of two cases are those that a pool of these cases alone has; a third one's are in none of them."""
    patches, cohort = pool
    case = np.array([cohort.case_of[str(name)] for name in patches.index.slide_id])
    learned = np.flatnonzero(case != "c1")
    looks, every = Looks.of_rows(patches, learned, cohort), all_looks(patches, cohort)
    assert looks.among.source.tolist() == ["far", "near"]
    assert (looks.of_row[case == "c1"] == -1).all()
    for own, whole in ((0, 0), (1, 1)):
        assert (looks.among.mean[own] == every.among.mean[whole]).all()
    assert not (looks.among.mean == every.among.mean[2]).all(axis=1).any()


def test_a_file_that_is_gone_is_no_file_without_compression(pool, tmp_path):
    """Resumed where the images are not, a training would go on with other looks."""
    patches, cohort = pool
    with pytest.raises(SlideError, match="cannot be read"):
        Looks.of_rows(patches, np.arange(len(patches.index)), Cohort(tmp_path, cohort.slides, cohort.annotations))


def test_slides_of_a_case_and_source_are_one_look(pool):
    """Each row has the look of its case and source, measured on what stands there."""
    patches, cohort = pool
    looks = all_looks(patches, cohort)
    assert looks.among.source.tolist() == ["far", "near", "near"]
    case = np.array([cohort.case_of[str(name)] for name in patches.index.slide_id])
    for look, name in enumerate(("c2", "c0", "c1")):
        rows = np.flatnonzero(case == name)
        assert (looks.of_row[rows] == look).all()
        mean, _, _ = statistics(patches.reader.read(rows, Variant.plain(len(rows))))
        np.testing.assert_allclose(looks.among.mean[look], mean, atol=0.02)
    assert (looks.among.jpeg == 0).all()


def test_a_batch_is_its_steps_and_the_exchange_has_a_stream_of_its_own(pool):
    """The same step gives the same bytes; without an exchange all is as it was; with one, only images change."""
    plain, none, full = (a_feed(*pool, share) for share in (None, 0.0, 1.0))
    for step in (0, 3):
        assert (plain.batch(step).image == none.batch(step).image).all()
        shown = full.batch(step)
        assert (shown.image != plain.batch(step).image).any(axis=(1, 2, 3)).all()
        assert (shown.image == a_feed(*pool, 1.0).batch(step).image).all()
        assert (shown.target == plain.batch(step).target).all()
    assert plain.looks is None


def test_classes_are_exchanged_alike(pool):
    """As many figures as negatives take another look, and what is drawn knows no label."""
    patches, cohort = pool
    looks = all_looks(patches, cohort)
    rows = np.tile(np.arange(len(patches.index)), 40)
    drawn = looks.draw(rows, ExchangeConfig(share=0.5), np.random.default_rng(4))
    moved = (drawn.density != np.eye(3, 4)).any(axis=(1, 2))
    figure = patches.index.label[rows] == 1
    assert moved.mean() == pytest.approx(0.5, abs=0.05)
    assert moved[figure].mean() == pytest.approx(moved[~figure].mean(), abs=0.06)
    swapped = replace(
        patches, places=replace(patches.places, index=replace(patches.index, label=1 - patches.index.label))
    )
    again = all_looks(swapped, cohort).draw(rows, ExchangeConfig(share=0.5), np.random.default_rng(4))
    assert (again.density == drawn.density).all()


def test_two_views_of_a_patch_are_exchanged_as_one(pool):
    """CHS-NET's two pictures come from one exchanged patch."""
    patches, cohort = pool
    looks = all_looks(patches, cohort)
    rows = np.arange(6)
    drawn = looks.draw(rows, ExchangeConfig(share=1), np.random.default_rng(2))
    both = replace(patches, view=View(views="two", patch_px=32))
    shown = both.images(rows, Variant.plain(6), then=partial(exchange, drawn=drawn))
    assert (shown == both.view.images(exchange(patches.reader.read(rows, Variant.plain(6)), drawn))).all()
