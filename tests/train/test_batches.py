"""Targets are what experts agreed on where that is known; sources are told apart only where both classes are theirs."""

import itertools
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from build import a_cohort
from mitosieve.annotation import NO_MARK as NEW
from mitosieve.annotation import Annotations, Label
from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.cohort.split import Split
from mitosieve.errors import RecipeError
from mitosieve.network.loss import LossConfig
from mitosieve.patch.index import Origin, PatchIndex
from mitosieve.recipe.recipe import load_recipe
from mitosieve.train.lesson import BatchConfig
from mitosieve.train.places import NO_MARK, Places
from mitosieve.train.proposals import ProposalRule
from mitosieve.train.sampler import BalancedSampler, RatioSampler
from tiny import ONE_CORE, SWIFT_SHORT, SWIFT_SMALL, a_split, mitosieve
from tiny import a_cohort as tiny_cohort

RECIPE = load_recipe("swift")


def rule_places(tmp_path, scores, **choices):
    """The places of a slide whose two figures and one imposter have these scores."""
    cohort = a_cohort(tmp_path, cases=1)
    marks = cohort.annotations
    rated = Annotations.of(
        slide_id=marks.slide_id, center_l0=marks.center_l0, label=marks.label, score=scores, source="built"
    )
    whole = Cohort(cohort.folder, cohort.slides, rated)
    rule = ProposalRule(plan=RECIPE.plan, truth=RECIPE.truth, **choices)
    return whole, rule.places(whole, whole.slides[0])


@pytest.mark.parametrize("imposters", [True, False])
def test_a_label_is_learned_as_far_as_experts_agreed(tmp_path, imposters):
    """A figure's share, 1 where it is unknown; an imposter's share, also where it is background; 0 without a mark."""
    cohort, places = rule_places(tmp_path, [0.65, np.nan, 0.2], imposters=imposters)
    soft = BatchConfig(targets="agreement").target(places, cohort.annotations)
    hard = BatchConfig().target(places, cohort.annotations)
    assert hard.tolist() == places.index.label.tolist()
    center_um, marks_um = places.index.center_l0 * 0.25, cohort.annotations.center_l0 * 0.25
    distance = np.linalg.norm(center_um[:, None] - marks_um[None], axis=2)
    assert {0, 1, 2} <= set(places.mark.tolist())
    for row in range(len(places)):
        if places.mark[row] == NO_MARK:
            assert soft[row] == hard[row] == 0
            assert (distance[row] > RECIPE.truth.same_um).all()
        else:
            assert soft[row] == pytest.approx([0.65, 1, 0.2][places.mark[row]])
            assert distance[row, places.mark[row]] <= RECIPE.truth.reach_um
            np.testing.assert_allclose(places.offset_um[row], marks_um[places.mark[row]] - center_um[row], atol=1e-9)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "same", "other", NEW]), st.floats(0, 1)), min_size=1))
def test_a_changed_label_is_learned_as_it_is_now(marks):
    """Raters who were overruled by a correction or a review do not speak against it: the target lies on the side of the
    present label; one that was corrected back, or never, keeps their share.
    """
    n, names = len(marks), (Label.IMPOSTER.value, Label.MITOTIC_FIGURE.value)
    said = {"": lambda is_figure: "", "same": lambda k: names[k], "other": lambda k: names[not k], NEW: lambda k: NEW}
    plain = Annotations.of(
        slide_id=["s"] * n, center_l0=[(50.0 * k, 9.0) for k in range(n)],
        label=[names[is_figure] for is_figure, _, _ in marks], score=[score for _, _, score in marks],
    )  # fmt: skip
    annotations = replace(plain, label_before=np.array([said[before](k) for k, before, _ in marks], dtype=np.str_))
    origins = {True: Origin.FIGURE, False: Origin.IMPOSTER}
    rows = [
        Places.of_index(
            PatchIndex.of(slide_id="s", center_l0=plain.center_l0[k : k + 1], origin=origins[marks[k][0]], mpp=0.25),
            mark=np.array([k]),
        )
        for k in range(n)
    ]
    target = BatchConfig(targets="agreement").target(Places.concatenate(rows), annotations)
    for soft, (is_figure, before, score) in zip(target.tolist(), marks, strict=True):
        assert soft == (is_figure if before in ("other", NEW) else np.float32(score))


def test_hidden_marks_teach_nothing(tmp_path):
    """On a slide that is treated as unlabelled no place is told a mark."""
    cohort, places = rule_places(tmp_path, [0.65, 0.8, 0.2], hidden=frozenset({"c0_s0"}))
    assert (places.mark == NO_MARK).all()
    assert (BatchConfig(targets="agreement").target(places, cohort.annotations) == 0).all()


def test_losses_without_soft_targets_are_refused():
    """Agreement goes with the cross-entropy alone; a recipe says so before anything is trained."""
    with pytest.raises(ValueError, match="semi-focal"):
        BatchConfig(targets="agreement").check(LossConfig(), LossConfig(kind="cross-entropy"))
    BatchConfig(targets="agreement").check(LossConfig(kind="cross-entropy"))
    BatchConfig().check(LossConfig())
    assert load_recipe("swift", ["batches.targets=agreement"]).batches.targets == "agreement"
    with pytest.raises(RecipeError, match="does not take"):
        load_recipe("swift", ["batches.targets=agreement", "loss.kind=focal"])


def test_groups_are_sources_or_domains():
    """What is balanced is the slides' source, or their domain; nothing by default."""
    slides = tuple(
        SlideEntry(slide_id=f"s{i}", path=f"s{i}", case_id="c", domain=f"d{i // 2}", mpp=0.25, source=f"set{i % 2}")
        for i in range(4)
    )
    cohort = Cohort("built", slides, Annotations.empty())
    slide_id = np.repeat([f"s{i}" for i in range(4)], 6)
    label = np.arange(24) % 3 == 0
    kinds = {"figures": np.flatnonzero(label), "background": np.flatnonzero(~label)}

    def sampler(config):
        return config.sampler(kinds, {"figures": 1, "background": 2}, slide_id, cohort, batch_size=12, seed=1)

    assert isinstance(sampler(BatchConfig()), RatioSampler)
    for by, groups in (("source", ["set0", "set1"]), ("domain", ["d0", "d1"])):
        made = sampler(BatchConfig(balance=by))
        assert isinstance(made, BalancedSampler)
        assert made.groups == groups


def test_places_keep_agreement_apart_from_label():
    """Soft targets change nothing of the index: mining and curves go on with hard labels."""
    index = PatchIndex.of(slide_id="s", center_l0=np.zeros((1, 2)), origin=Origin.FIGURE, mpp=0.25)
    marks = Annotations.of(slide_id=["s"], center_l0=[(0, 0)], label=[Label.MITOTIC_FIGURE], score=[0.65])
    places = Places.of_index(index, mark=np.zeros(1, dtype=np.int64))
    assert BatchConfig(targets="agreement").target(places, marks).tolist() == [pytest.approx(0.65)]
    assert places.index.label.tolist() == [1]


@pytest.mark.parametrize("labels", list(itertools.product([0, 1], repeat=4)))
def test_a_source_that_has_one_class_left_without_a_part_is_named(tmp_path, labels):
    """For each network by brute force: two sources of two places each, whose four cases are dealt to two parts."""
    slides = tuple(
        SlideEntry(slide_id=f"s{i}", path=f"{i}.png", case_id=f"c{i}", domain="d", mpp=0.25, source=f"set{i // 2}")
        for i in range(4)
    )
    cohort = Cohort(tmp_path, slides, Annotations.empty())
    index = PatchIndex.concatenate(
        [
            PatchIndex.of(
                slide_id=f"s{i}",
                center_l0=np.zeros((1, 2)),
                origin=Origin.FIGURE if label else Origin.BACKGROUND,
                mpp=0.25,
            )
            for i, label in enumerate(labels)
        ]
    )
    places, part, notes = Places.of_index(index), np.array([0, 1, 0, 1]), []
    BatchConfig(balance="source").note_left_out(SimpleNamespace(cohort=cohort, note=notes.append), places, part)
    expected = []
    for number in (None, 0, 1):
        for source in (0, 1):
            left = {labels[i] for i in (2 * source, 2 * source + 1) if number is None or part[i] != number}
            whole = set(labels[2 * source : 2 * source + 2])
            if len(left) == 1 and (number is None or len(whole) == 2):
                lacking = "background" if left == {1} else "figure"
                where = "" if number is None else f" where part {number + 1} of the patients is left out"
                expected.append(f"source 'set{source}' has no {lacking} to learn from{where}: its ")
    assert [note[: len(start)] for note, start in zip(notes, expected, strict=True)] == expected


@pytest.mark.parametrize(("balance", "crops", "told"), [
    ("source", ["s0"], True), ("source", ["s0", "s1"], False), ("source", [], False), ("none", ["s0"], False),
    ("domain", ["s0"], True), ("domain", ["s0", "s1"], True),
])  # fmt: skip
def test_a_source_of_crops_and_whole_slides_is_named(tmp_path, balance, crops, told):
    """Batches are balanced between sources, or domains, and not within one."""
    slides = tuple(
        SlideEntry(slide_id=f"s{i}", path=f"{i}.png", case_id=f"c{i}", domain="d", mpp=0.25, source=f"set{i // 2}")
        for i in range(4)
    )
    index = PatchIndex.concatenate(
        [
            PatchIndex.of(slide_id=f"s{i}", center_l0=np.array([[k, 0.0]]), origin=origin, mpp=0.25)
            for i in range(4)
            for k, origin in enumerate((Origin.FIGURE, Origin.BACKGROUND))
        ]
    )
    notes = []
    job = SimpleNamespace(cohort=Cohort(tmp_path, slides, Annotations.empty()), note=notes.append)
    BatchConfig(balance=balance).note_left_out(job, Places.of_index(index), crops=crops)
    assert ["holds crops and whole slides" in note for note in notes] == [True] * told


@pytest.mark.parametrize(("balance", "told"), [("source", 1), ("domain", 0), ("none", 0)])
def test_a_source_of_one_class_is_named(tmp_path, balance, told):
    """On the error stream and in the log: nothing of it is learned. And so are crops that no patch fits in."""
    cohort = Cohort.load(tiny_cohort())
    fold = Split.load(a_split()).fold("A")
    odd, small = fold.train[0], fold.train[1]
    shutil.copytree(tiny_cohort() / "images", tmp_path / "cohort" / "images")
    moved = cohort.with_entries(lambda e: replace(e, source="bare" if e.case_id == odd else "whole"))
    name = next(e.slide_id for e in moved.slides if e.case_id == odd)
    entry = moved.entry(name)
    crop = replace(
        entry, slide_id="crop", path="images/crop.png", case_id=small, width_l0=40, height_l0=40, source="whole"
    )
    cv2.imwrite(str(tmp_path / "cohort" / crop.path), np.full((40, 40, 3), 200, np.uint8))
    marks = moved.annotations[moved.annotations.slide_id != name]
    Cohort(tmp_path / "cohort", (*moved.slides, crop), marks).save()
    words = [word for one in (*SWIFT_SMALL, *SWIFT_SHORT, f"batches.balance={balance}") for word in ("--set", one)]
    where = (tmp_path / "cohort", "--split", a_split(), "--fold", "A", "--out", tmp_path / "run")
    said = mitosieve("train", "swift", *where, *ONE_CORE, *words, "--quiet")
    assert said.code == 0, said.err
    for text in (said.err, (tmp_path / "run" / "log.txt").read_text()):
        assert text.count("warning: source 'bare' has no figure to learn from") == told
        assert text.count("nothing is learned of 1 of") == 1
        assert "labelled training slides, crop: no place was found" in text
