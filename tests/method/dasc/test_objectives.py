"""What the trainings of DASC make small and remember: each against a loop by hand, and interrupted at any step."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from mitosieve.method.dasc.contrast import _plain
from mitosieve.method.dasc.objectives import ContrastObjective, LevelObjective, MemoryObjective, SdsclConfig, over_views
from mitosieve.method.dasc.rules.clusters import class_temperatures, cluster_temperatures, subclasses
from mitosieve.method.dasc.rules.levels import LevelHits
from mitosieve.method.dasc.rules.memory import Memory, MemoryConfig
from mitosieve.network.contrast import subclass_contrast, supervised_contrast
from mitosieve.network.location import LocationConfig, location_loss
from mitosieve.train.objective import Batch

N, FEATURES, SIDE = 9, 5, 4
LABEL = np.array([1, 0, 0, 1, 0, 1, 0, 0, 1], dtype=np.int8)
LEVEL = np.array([0, 0, 2, 1, 3, 0, 1, -1, 2], dtype=np.int8)
KEPT = np.flatnonzero(LEVEL >= 0)
IDS = np.arange(N, dtype=np.int64) * 11 + 3


class Shown(nn.Module):
    """Says what its image shows: no weights to be learned, so every number can be worked out by hand."""

    def with_features(self, image):
        return image[:, :3, 0, 0], image[:, 3:, 0, 0]

    def with_projection(self, image):
        return image[:, 0, 0, 0], image[:, 1], functional.normalize(image.flatten(1), dim=1)

    def forward(self, image):
        return image[:, :3, 0, 0]


def rng(*seed):
    return np.random.default_rng([5, *seed])


def batch_of(rows, target, views=1, seed=0):
    place = rng(seed, 1).uniform(0, SIDE - 1, (len(rows), views, 2)).astype(np.float32)
    nothing = np.zeros((len(rows), 1, 1, 3), dtype=np.uint8)
    return Batch(image=nothing, target=target[rows].astype(np.float32), row=rows, place_px=place)


def image_of(rows, channels, step, side=1):
    return torch.from_numpy(rng(step).normal(size=(len(rows), channels, side, side))).float()


def equal(first, second):
    assert first.keys() == second.keys()
    return all(np.array_equal(first[name], second[name], equal_nan=first[name].dtype.kind == "f") for name in first)


def interrupted(make, run, steps, at):
    """Whether an objective that goes on from another's arrays after step `at` ends where one does that never stopped.

    `make()` gives a fresh objective, `run(objective, step)` does one step and gives its losses.
    """
    whole, broken = make(), make()
    losses = [run(whole, step) for step in range(steps)]
    for step in range(at):
        run(broken, step)
    kept = {name: np.array(column) for name, column in broken.arrays().items()}
    again = make()
    again.restore(kept)
    assert [run(again, step) for step in range(at, steps)] == losses[at:]
    return equal(whole.arrays(), again.arrays())


# memory units


def a_memory(epochs=3):
    return Memory.of(IDS, LABEL, MemoryConfig(warm_up=1), epochs=epochs, features=FEATURES)


def memory_step(objective, step):
    rows = rng(step, 7).permutation(N)[:4]
    outcome = objective(Shown(), image_of(rows, 3 + FEATURES, step), batch_of(rows, LABEL))
    objective.after(Shown(), step + 1)
    return outcome.loss.tolist()


def test_the_loss_of_the_memory_units_by_hand():
    """A quarter of each branch's cross-entropy and half of the fusion's; the score is the fusion's."""
    rows = np.array([0, 1, 3, 2])
    image = image_of(rows, 3 + FEATURES, 0)
    outcome = MemoryObjective(memory=a_memory(), steps_per_epoch=3)(Shown(), image, batch_of(rows, LABEL))
    for number, row in enumerate(rows):
        expected = 0.0
        for view, weight in enumerate((0.25, 0.25, 0.5)):
            p = 1 / (1 + math.exp(-float(image[number, view, 0, 0])))
            expected -= weight * math.log(p if LABEL[row] else 1 - p)
        assert float(outcome.loss[number]) == pytest.approx(expected, rel=1e-5)
        assert float(outcome.score[number]) == pytest.approx(p, rel=1e-5)


def test_the_memory_is_what_a_loop_by_hand_remembers():
    """Probabilities of both branches and the fusion, the signs of the fused features, epochs of three steps."""
    objective, expected = MemoryObjective(memory=a_memory(), steps_per_epoch=3), a_memory()
    for step in range(9):
        memory_step(objective, step)
        rows = rng(step, 7).permutation(N)[:4]
        shown = image_of(rows, 3 + FEATURES, step)[:, :, 0, 0]
        expected.visit(rows, torch.sigmoid(shown[:, :3]).numpy(), (shown[:, 3:] > 0).numpy())
        if step in (2, 5, 8):
            expected.end_epoch(step // 3)
        assert equal(objective.arrays(), expected.arrays())
        assert objective.memory.ended.sum() == (step + 1) // 3


@pytest.mark.parametrize("at", [1, 3, 5])
def test_memory_units_go_on_where_they_were(at):
    """Within an epoch and at its end."""
    assert interrupted(lambda: MemoryObjective(memory=a_memory(), steps_per_epoch=3), memory_step, 9, at)


# levels


def level_step(objective, step):
    rows = rng(step, 8).integers(0, N, 6)
    outcome = objective(Shown(), image_of(rows, 3, step), batch_of(rows, np.maximum(LEVEL - 1, 0)))
    objective.after(Shown(), step + 1)
    return outcome.loss.tolist()


def test_hits_count_after_the_warm_up_alone():
    """Each visit of a row counts, also twice in a batch; the loss is that of the level; no figure is told."""
    hits = LevelHits.of(IDS)
    objective = LevelObjective(hits=hits, warm_up_steps=2)
    seen, correct = np.zeros(N, dtype=int), np.zeros(N, dtype=int)
    for step in range(5):
        losses = level_step(objective, step)
        rows = rng(step, 8).integers(0, N, 6)
        logits = image_of(rows, 3, step)[:, :, 0, 0].double().numpy()
        for number, row in enumerate(rows):
            level = max(LEVEL[row] - 1, 0)
            p = np.exp(logits[number]) / np.exp(logits[number]).sum()
            assert losses[number] == pytest.approx(-math.log(p[level]), rel=1e-4)
            if step >= 2:
                seen[row] += 1
                correct[row] += int(np.argmax(p)) == level
        assert (hits.seen.tolist(), hits.correct.tolist()) == (seen.tolist(), correct.tolist())
    assert seen.max() > 1


@pytest.mark.parametrize("at", [1, 2, 4])
def test_levels_go_on_where_they_were(at):
    """Before, at and after the end of the warm-up."""
    assert interrupted(lambda: LevelObjective(hits=LevelHits.of(IDS), warm_up_steps=2), level_step, 6, at)


# contrast

SHOWN = rng(77).normal(size=(N, 6))
Z = (SHOWN / np.linalg.norm(SHOWN, axis=1, keepdims=True)).astype(np.float32)


def a_contrast(rows=KEPT, *, steps_per_epoch=2, **config):
    config = {"warm_up": 1, "renew_epochs": 1, "clusters": (2, 2), **config}
    return ContrastObjective(
        config=SdsclConfig(**config),
        label=LABEL,
        level=LEVEL,
        is_figure=LABEL == 1,
        embed=lambda _, rows: Z[rows],
        rows=rows,
        steps_per_epoch=steps_per_epoch,
        patch_px=SIDE,
        seed=3,
    )


def contrast_step(objective, step):
    rows = rng(step, 9).choice(KEPT, 5)
    outcome = objective(Shown(), image_of(rows, 6, step, SIDE), batch_of(rows, LABEL, 2, step))
    objective.after(Shown(), step + 1)
    return outcome.loss.tolist()


def shown_to(step):
    """Rows and batch of a step, and the logits (B, 2), maps (2B, h, w) and vectors (B, 2, D) that are shown."""
    rows = rng(step, 9).choice(KEPT, 5)
    logit, activation, z = Shown().with_projection(over_views(image_of(rows, 6, step, SIDE)))
    return rows, batch_of(rows, LABEL, 2, step), logit.view(5, 2), activation, z.view(5, 2, -1)


def contrast_by_hand(objective, rows, z):
    of_rows = [torch.from_numpy(values[rows]) for values in (LABEL, objective.cluster, LEVEL, objective.temperature)]
    return subclass_contrast(z, *of_rows, objective.config.contrast)


def test_the_views_of_a_sample_stand_together():
    """Image 2 b + v of the one batch is view v of sample b."""
    image = torch.arange(3 * 6 * 4).view(3, 6, 2, 2)
    flat = over_views(image)
    for sample in range(3):
        for view in range(2):
            assert (flat[2 * sample + view] == image[sample, 3 * view : 3 * view + 3]).all()


def test_in_warm_up_there_is_plain_contrast_of_classes_alone():
    """Whatever the weights of the other terms, the levels, and the subclasses, which a renewal may have made."""
    objective = a_contrast(alpha_ce=7.0, alpha_sup=0.3, warm_up=2)
    assert objective.cluster.tolist() == LABEL.tolist()
    for step in range(4):
        rows, _, _, _, z = shown_to(step)
        expected = supervised_contrast(z, torch.from_numpy(LABEL[rows]), objective.config.contrast)
        assert contrast_step(objective, step) == pytest.approx(expected.tolist(), rel=1e-5)
    assert len(np.unique(objective.cluster)) == 4


@pytest.mark.parametrize("hard_loss", ["generalised", "smoothed", "cross-entropy"])
def test_the_whole_loss_by_hand(hard_loss):
    """After the warm-up: easy and hard samples classified each in its way, contrast, and place of figures alone."""
    objective = a_contrast(hard_loss=hard_loss, alpha_ce=2.0, alpha_sup=0.3, location=LocationConfig(weight=0.2))
    for step in range(2):
        contrast_step(objective, step)
    for step in range(2, 6):
        rows, batch, logit, activation, z = shown_to(step)
        contrast = contrast_by_hand(objective, rows, z)
        found = contrast_step(objective, step)
        for number, row in enumerate(rows):
            expected = 0.3 * float(contrast[number])
            for view in range(2):
                p = 1 / (1 + math.exp(-float(logit[number, view])))
                p_y = p if LABEL[row] else 1 - p
                term = -math.log(p_y)
                if LEVEL[row] > 0 and hard_loss == "generalised":
                    term = (1 - p_y**0.7) / 0.7
                elif LEVEL[row] > 0 and hard_loss == "smoothed":
                    term = -0.95 * math.log(p_y) - 0.05 * math.log(1 - p_y)
                expected += 2.0 * term / 2
                if LABEL[row]:
                    place = torch.from_numpy(batch.place_px[number, view][None])
                    located = location_loss(activation[2 * number + view][None], place, SIDE, objective.config.location)
                    assert float(located) > 0
                    expected += 0.2 * float(located) / 2
            assert found[number] == pytest.approx(expected, rel=1e-4)


def test_the_score_is_the_mean_of_the_views():
    """In warm-up and after."""
    objective = a_contrast()
    for step in range(4):
        rows, batch, logit, _, _ = shown_to(step)
        outcome = objective(Shown(), image_of(rows, 6, step, SIDE), batch)
        torch.testing.assert_close(outcome.score, torch.sigmoid(logit).mean(dim=1))
        objective.after(Shown(), step + 1)


def test_without_contrast_it_is_plain_cross_entropy():
    """What stands in for the contrastive stage where it is off; its place of figures stays."""
    plain = _plain(SdsclConfig(location=LocationConfig(weight=0)), epochs=3)
    objective = a_contrast(**plain.model_dump())
    for step in range(6):
        rows, _, logit, _, _ = shown_to(step)
        target = torch.from_numpy(LABEL[rows]).float()[:, None].expand(-1, 2)
        expected = functional.binary_cross_entropy_with_logits(logit, target, reduction="none").mean(dim=1)
        assert contrast_step(objective, step) == pytest.approx(expected.tolist(), rel=1e-5)
    assert objective.cluster.tolist() == LABEL.tolist()  # never renewed


def test_a_batch_without_places_is_not_located():
    """Nor one whose weight is 0."""
    rows, batch, *_ = shown_to(2)
    bare = Batch(image=batch.image, target=batch.target, row=rows)
    image = image_of(rows, 6, 2, SIDE)
    losses = [
        a_contrast(warm_up=0, location=LocationConfig(weight=weight))(Shown(), image, some).loss.tolist()
        for weight, some in ((0.0, batch), (0.5, bare), (0.5, batch))
    ]
    assert losses[0] == losses[1]
    assert (np.array(losses[2]) > losses[0]).tolist() == (LABEL[rows] == 1).tolist()


@pytest.mark.parametrize("temperatures", ["class", "cluster"])
def test_subclasses_are_renewed_at_the_end_of_their_epochs(temperatures):
    """Every second epoch of three steps, temperatures too; rows that are not learned from keep what they had."""
    objective = a_contrast(steps_per_epoch=3, renew_epochs=2, temperatures=temperatures)
    before = objective.cluster.copy()
    for step in range(13):
        contrast_step(objective, step)
        renewed = (step + 1) // 6
        if renewed == 0:
            expected, temperature = before, np.full(N, 0.1)
        else:
            ids = subclasses(Z[KEPT], LABEL[KEPT], (2, 2), 3, renewed)
            expected, temperature = before.copy(), np.full(N, 0.1)
            expected[KEPT] = ids
            if temperatures == "class":
                temperature[KEPT] = class_temperatures(Z[KEPT], ids, LABEL[KEPT], 0.1)[LABEL[KEPT]]
            else:
                temperature[KEPT] = cluster_temperatures(Z[KEPT], ids, LABEL[KEPT], 0.1)[ids]
        assert objective.cluster.tolist() == expected.tolist()
        np.testing.assert_allclose(objective.temperature, temperature, rtol=1e-6)


@given(st.permutations(KEPT.tolist()))
@settings(max_examples=20)
def test_ids_are_written_back_by_row(order):
    """In whatever order rows are embedded, the same rows are of one subclass, and no subclass holds both classes."""
    one, other = a_contrast(), a_contrast(np.array(order))
    for objective in (one, other):
        objective.after(Shown(), 2)
    assert one.cluster.tolist() == other.cluster.tolist()
    np.testing.assert_allclose(one.temperature, other.temperature, rtol=1e-6)
    of_class = [set(one.cluster[KEPT][LABEL[KEPT] == value]) for value in (0, 1)]
    assert not of_class[0] & of_class[1]
    assert [len(ids) for ids in of_class] == [2, 2]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_contrast_goes_on_where_it_was(at):
    """In warm-up, at a renewal, and between two."""
    assert interrupted(a_contrast, contrast_step, 7, at)
