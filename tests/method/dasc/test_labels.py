"""Labels of DASC: which place stands for a mark, which may be a negative, and what is kept of them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from mitosieve import Cohort
from mitosieve.annotation import Annotations, Label
from mitosieve.errors import CohortError
from mitosieve.method.dasc.labels import LabelConfig, MarkRule, clear_of, nearest_free
from mitosieve.patch.index import Origin
from mitosieve.train.places import Places, find_places
from mitosieve.train.proposals import propose
from small_dasc import a_cohort, a_job, a_recipe

HOW = LabelConfig()


def found(job, cases, config=HOW, imposters=True):
    return find_places(job.cohort, cases, MarkRule(plan=a_recipe().plan, config=config, imposters=imposters))


points = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=9)


@given(points, points, st.sampled_from([0.0, 1.0, 2.5, 5.0, 20.0]))
def test_pairs_are_taken_by_growing_distance(marks, proposed, reach):
    """By brute force: the nearest pair of a free mark and a free place, again and again; of equals the first."""
    marks, proposed = (np.array(places, dtype=float).reshape(-1, 2) for places in (marks, proposed))
    expected = np.full(len(marks), -1)
    while True:
        best = None
        for mark in np.flatnonzero(expected < 0):
            for place in range(len(proposed)):
                distance = float(np.hypot(*(marks[mark] - proposed[place])))
                free = place not in expected
                if free and distance <= reach and (best is None or distance < best[0]):
                    best = (distance, mark, place)
        if best is None:
            break
        expected[best[1]] = best[2]
    assert nearest_free(marks, proposed, reach).tolist() == expected.tolist()


@given(st.integers(0, 2**32))
def test_a_negative_is_clear_of_every_disc(seed):
    """By a mask of fine pixels: no disc round a figure has a point in the place's window."""
    generator = np.random.default_rng(seed)
    how = LabelConfig(exclusion_um=float(generator.uniform(0.5, 4)), window_um=float(generator.uniform(0.5, 4)))
    figures, centers = generator.uniform(3, 9, (int(generator.integers(0, 4)), 2)), generator.uniform(1, 11, (12, 2))
    step = 0.05
    at = np.arange(0, 12, step)
    x, y = np.meshgrid(at, at)
    masked = np.zeros(x.shape, dtype=bool)
    for figure in figures:
        masked |= np.hypot(x - figure[0], y - figure[1]) <= how.exclusion_um
    found = clear_of(centers, figures, how)
    for center, clear in zip(centers, found, strict=True):
        half, beyond = how.window_um / 2, np.abs([x - center[0], y - center[1]]).max(axis=0)
        assert not (clear and masked[beyond <= half - 2 * step].any())
        assert clear or masked[beyond <= half + 2 * step].any()


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("labels") / "cohort")


@pytest.fixture(scope="module")
def of_train(cohort, tmp_path_factory):
    """Job and labels of all five cases."""
    job = a_job(cohort, tmp_path_factory.mktemp("labels") / "run")
    cases = tuple(sorted({entry.case_id for entry in job.cohort.slides}))
    return job, found(job, cases, HOW)


def marked(cohort, marks, folder):
    """The cohort's first slide with marks at (x, y, label)."""
    whole = Cohort.load(cohort)
    entry = replace(whole.slides[0], path=str(cohort / whole.slides[0].path))
    annotations = Annotations.of(
        slide_id=[entry.slide_id] * len(marks),
        center_l0=np.array([mark[:2] for mark in marks], dtype=float).reshape(-1, 2),
        label=[mark[2] for mark in marks],
    )
    return replace(a_job(cohort, folder), cohort=Cohort(folder, (entry,), annotations)), entry


def test_each_mark_has_one_row(of_train):
    """Every figure, and every imposter that is not near one; rows name their mark, its slide and its label."""
    job, labels = of_train
    marks = job.cohort.annotations
    rows = labels.mark[labels.mark >= 0]
    assert len(np.unique(rows)) == len(rows)
    expected = []
    for row in range(len(marks)):
        figures = marks.of_slide(str(marks.slide_id[row])).with_label(Label.MITOTIC_FIGURE).center_l0
        away = np.linalg.norm(figures - marks.center_l0[row], axis=1) * 0.25
        if marks.label[row] == Label.MITOTIC_FIGURE.value or (away >= HOW.apart_um).all():
            expected.append(row)
    assert sorted(rows) == expected
    of_mark = labels[labels.mark >= 0]
    assert (marks.slide_id[of_mark.mark] == of_mark.index.slide_id).all()
    is_figure = marks.label[of_mark.mark] == Label.MITOTIC_FIGURE.value
    assert (of_mark.index.label == is_figure).all()
    assert ((of_mark.index.origin == Origin.FIGURE.value) == is_figure).all()
    assert ((labels.mark < 0) == (labels.index.origin == Origin.BACKGROUND.value)).all()


def test_the_offset_leads_from_the_place_to_the_mark(of_train):
    """Place + offset is the mark, never farther than the reach; most places are proposals and not the mark itself."""
    job, labels = of_train
    of_mark = labels[labels.mark >= 0]
    reached = of_mark.index.center_l0 + of_mark.offset_um / 0.25
    np.testing.assert_allclose(reached, job.cohort.annotations.center_l0[of_mark.mark], atol=1e-9)
    length = np.linalg.norm(of_mark.offset_um, axis=1)
    assert length.max() <= HOW.reach_um
    assert (length > 0).mean() > 0.7
    assert (labels.offset_um[labels.mark < 0] == 0).all()


def test_background_is_proposed_and_away_from_marks(of_train):
    """All of the proposals, and those alone, that no mark reaches and no figure's disc touches."""
    job, labels = of_train
    for entry in job.cohort.slides:
        proposed = propose(job.cohort, entry, a_recipe().plan).center_l0
        marks = job.cohort.annotations.of_slide(entry.slide_id)
        figures = marks.with_label(Label.MITOTIC_FIGURE).center_l0
        expected = [
            place
            for place in proposed.tolist()
            if (np.linalg.norm(marks.center_l0 - place, axis=1) * 0.25 > HOW.reach_um).all()
            and clear_of(np.array([place]) * 0.25, figures * 0.25, HOW)[0]
        ]
        mine = (labels.index.slide_id == entry.slide_id) & (labels.index.origin == Origin.BACKGROUND.value)
        assert sorted(labels.index.center_l0[mine].tolist()) == sorted(expected)


def test_where_imposters_are_not_known_only_figures_mask_candidates(of_train):
    """Every proposal that no figure's disc touches is there once; those that imposters would take are named so."""
    job, known = of_train
    cases = tuple(sorted({entry.case_id for entry in job.cohort.slides}))
    labels = found(job, cases, HOW, imposters=False)
    for entry in job.cohort.slides:
        proposed = propose(job.cohort, entry, a_recipe().plan).center_l0
        marks = job.cohort.annotations.of_slide(entry.slide_id)
        figures = marks.with_label(Label.MITOTIC_FIGURE).center_l0
        expected = proposed[clear_of(proposed * 0.25, figures * 0.25, HOW)]
        mine = (labels.index.slide_id == entry.slide_id) & (labels.index.origin != Origin.FIGURE.value)
        assert sorted(labels.index.center_l0[mine].tolist()) == sorted(expected.tolist())
        imposters = marks.with_label(Label.IMPOSTER).center_l0 * 0.25
        taken = nearest_free(imposters, expected * 0.25, HOW.reach_um)
        named = mine & (labels.index.origin == Origin.IMPOSTER.value)
        assert sorted(labels.index.center_l0[named].tolist()) == sorted(expected[taken[taken >= 0]].tolist())
    named = labels[labels.with_origin(Origin.IMPOSTER)]
    assert len(named) > 3
    assert (job.cohort.annotations.label[named.mark] == Label.IMPOSTER.value).all()
    reached = named.index.center_l0 + named.offset_um / 0.25
    np.testing.assert_allclose(reached, job.cohort.annotations.center_l0[named.mark], atol=1e-9)
    figures = [some.index.center_l0[some.with_origin(Origin.FIGURE)] for some in (known, labels)]
    assert len(figures[0]) == len(figures[1])


def test_the_offset_does_not_tell_the_classes_apart(of_train):
    """A place lies as far from a figure as from an imposter, so no network learns the class from where the cell is."""
    _, labels = of_train
    length = np.linalg.norm(labels.offset_um, axis=1)
    figure, imposter = (length[labels.with_origin(kind)] for kind in (Origin.FIGURE, Origin.IMPOSTER))
    auc = mannwhitneyu(figure, imposter).statistic / len(figure) / len(imposter)
    assert 0.3 < auc < 0.7


def test_a_mark_without_a_proposal_keeps_its_own_place(cohort, tmp_path):
    """Nothing is proposed on glass beyond the tissue's nuclei within so small a reach."""
    job, entry = marked(cohort, [(300.3, 310.7, Label.MITOTIC_FIGURE), (90.2, 80.9, Label.IMPOSTER)], tmp_path)
    labels = found(job, (entry.case_id,), LabelConfig(reach_um=0.01))
    of_mark = labels[labels.mark >= 0]
    assert of_mark.index.center_l0.tolist() == [[300.3, 310.7], [90.2, 80.9]]
    assert (of_mark.offset_um == 0).all()


def test_an_imposter_is_not_moved_onto_a_figure(cohort, tmp_path):
    """A proposal between a figure and an imposter, which the figure leaves free, is no place for the imposter."""
    whole = a_job(cohort, tmp_path)
    proposed = propose(whole.cohort, whole.cohort.slides[0], a_recipe().plan).center_l0
    distance = np.linalg.norm(proposed[:, None] - proposed[None], axis=2) * 0.25
    distance[distance == 0] = np.inf
    one, two = (int(number) for number in np.unravel_index(distance.argmin(), distance.shape))
    assert distance[one, two] < HOW.apart_um
    figure, between = proposed[one], proposed[two]
    away = (between - figure) / np.linalg.norm(between - figure)
    imposter = figure + away * 14.5 / 0.25
    marks = [(*figure, Label.MITOTIC_FIGURE), (*imposter, Label.IMPOSTER)]
    job, entry = marked(cohort, marks, tmp_path)
    labels = found(job, (entry.case_id,), LabelConfig(reach_um=14.5))
    row = labels.with_origin(Origin.IMPOSTER)
    assert len(row) == 1
    place = labels.index.center_l0[row[0]]
    assert np.linalg.norm(place - figure) * 0.25 >= HOW.apart_um
    near = [*figure + away * 40, Label.IMPOSTER]
    job, entry = marked(cohort, [*marks, near], tmp_path)
    assert len(found(job, (entry.case_id,), HOW).with_origin(Origin.IMPOSTER)) == 1


@pytest.mark.parametrize(
    ("right_um", "below_um", "learned"), [(9, 9, False), (-9.9, 9.9, False), (10.2, 9, True), (11, 0, False)]
)
def test_an_imposter_whose_patch_shows_a_figure_is_left_out(cohort, tmp_path, right_um, below_um, learned):
    """A patch is a square: in its corner a figure may be farther than `apart_um` and is shown all the same."""
    figure = np.array([200.0, 200.0])
    imposter = figure + np.array([right_um, below_um]) / 0.25
    marks = [(*figure, Label.MITOTIC_FIGURE), (*imposter, Label.IMPOSTER)]
    job, entry = marked(cohort, marks, tmp_path)
    assert a_recipe().plan.largest_patch_um == 20
    own = LabelConfig(reach_um=0.01)  # nothing is proposed so near: every mark keeps its own place
    assert len(found(job, (entry.case_id,), own).with_origin(Origin.IMPOSTER)) == learned


def test_labels_are_read_as_they_were_written(of_train, tmp_path):
    """Every column, and the same bytes of the same labels."""
    _, labels = of_train
    again = Places.load(labels.save(tmp_path / "a.parquet"))
    assert again.save(tmp_path / "b.parquet").read_bytes() == (tmp_path / "a.parquet").read_bytes()
    pd.testing.assert_frame_equal(again.table(), labels.table())
    assert again.index.mpp == labels.index.mpp


def test_of_two_rows_of_one_place_the_first_stays(of_train):
    """Order is kept, and nothing stands twice."""
    _, labels = of_train
    twice = Places.concatenate([labels[np.arange(5, 9)], labels[np.arange(7, 12)], labels[np.arange(3)]])
    assert twice.index.patch_id.tolist() == labels.index.patch_id[[5, 6, 7, 8, 9, 10, 11, 0, 1, 2]].tolist()


@pytest.mark.parametrize("marks", [[], [(300, 300, Label.IMPOSTER)]])
def test_without_a_figure_there_is_nothing_to_learn(cohort, tmp_path, marks):
    """The cases are named, and what is missing."""
    job, entry = marked(cohort, marks, tmp_path)
    with pytest.raises(CohortError, match=f"the cases {entry.case_id} have no figure"):
        found(job, (entry.case_id,), HOW)


def test_without_labelled_slides_there_is_nothing_to_learn(cohort, tmp_path):
    """An unlabelled slide is no source of negatives: it may be full of figures."""
    job, entry = marked(cohort, [], tmp_path)
    job = replace(job, cohort=job.cohort.with_entries(lambda entry: replace(entry, labelled=False)))
    with pytest.raises(CohortError, match="have no figure"):
        found(job, (entry.case_id,), HOW)
