"""Laws of the training loop: what is killed and resumed ends as what was not; the rest is arithmetic by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mitosieve.errors import TrainingError
from mitosieve.network.chsnet import ChsNet
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig
from mitosieve.network.loss import LossConfig, per_sample_loss
from mitosieve.network.registry import save_weights
from mitosieve.run.folder import RunFolder
from mitosieve.run.seed import derive_generator
from mitosieve.train.job import Job
from mitosieve.train.lesson import Lesson
from mitosieve.train.loop import learn, train
from mitosieve.train.objective import Batch, StepResult, Supervised
from mitosieve.train.schedule import TrainConfig

CPU = Compute(device="cpu", precision="32-true")
PATCHES = 60


class BrightFeed:
    """Figures are darker on the whole; the batch of a step depends on the step alone."""

    def __init__(self, *, batch_size: int = 6, side: int = 16) -> None:
        self.shape = (batch_size, side, side, 6)

    def batch(self, step: int) -> Batch:
        generator = derive_generator(7, "feed", step)
        target = (generator.random(self.shape[0]) < 0.5).astype(np.float32)
        image = generator.integers(60, 200, self.shape)
        image = (image - 50 * target[:, None, None, None]).astype(np.uint8)
        return Batch(image=image, target=target, row=generator.integers(0, PATCHES, self.shape[0]))


class Brightness(nn.Module):
    """One weight a channel: the smallest network there is."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Linear(6, 1)
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    def forward(self, image_BCHW):
        return self.weigh(image_BCHW.mean(dim=(2, 3))).squeeze(1)


class Killed(Exception):
    """Stands for the end of the process."""


def a_network(seed=3):
    torch.manual_seed(seed)
    return ChsNet(ChsNetConfig(width=0.03125))


def a_lesson(network, *, steps=40, seed=5, feed=None, **config):
    settings = {"rates": ((0, 1e-3), (0.5, 1e-4)), "checkpoint_every": 10, "validations": 3, "clip_norm": 5.0}
    return Lesson(
        name="screening",
        network=network,
        feed=feed or BrightFeed(),
        steps=steps,
        schedule=TrainConfig(batch_size=6, **{**settings, **config}),
        objective=Supervised(LossConfig()),
        seed=seed,
    )


def taught(folder: Path, lesson, progress=None):
    """The history of a lesson whose checkpoint lies in a folder."""
    return train(lesson, folder / "checkpoint.safetensors", CPU, progress)


def outcome(folder: Path, lesson, progress=None):
    """All that a training leaves, as bytes."""
    history = taught(folder, lesson, progress)
    return save_weights(lesson.network, folder / "network").read_bytes(), json.dumps(history)


def dying_at(step):
    def progress(name, done, total, **facts):
        if done == step:
            raise Killed

    return progress


@pytest.mark.parametrize("killed_at", [20, 27])
def test_killed_and_resumed_ends_with_the_same_bytes(tmp_path, killed_at):
    """Weights and history of an interrupted training equal those of one that ran through, byte for byte."""

    def judge(network):
        return {"weight": float(network.decision.weight.detach().sum())}

    whole = replace(a_lesson(a_network()), validate=judge)
    expected = outcome(tmp_path / "whole", whole)
    first = replace(a_lesson(a_network()), validate=judge)
    with pytest.raises(Killed):
        taught(tmp_path / "parts", first, dying_at(killed_at))
    second = replace(a_lesson(a_network(seed=99)), validate=judge)
    assert outcome(tmp_path / "parts", second) == expected


class Remembering:
    """Weighs each sample by how often it was seen so far, so what is forgotten in a kill changes the weights."""

    forward = "twice"

    def __init__(self):
        self.visits = np.zeros(PATCHES)
        self.steps = []

    def __call__(self, network, image, batch):
        np.add.at(self.visits, batch.row, 1)
        logit = network.twice(image).float()
        loss = per_sample_loss(logit, torch.from_numpy(batch.target), LossConfig())
        weight = torch.from_numpy(self.visits[batch.row]).float()
        return StepResult(loss=loss * weight, score=torch.sigmoid(logit.detach()))

    def after(self, network, done):
        assert network.training
        self.steps.append(done)

    def arrays(self):
        return {"visits": self.visits}

    def restore(self, arrays):
        self.visits[:] = arrays["visits"]


class TwiceBright(Brightness):
    def twice(self, image_BCHW):
        return 2 * self(image_BCHW)


def test_what_an_objective_remembers_survives_a_kill(tmp_path):
    """An objective with memory of its own, and with another method than `forward`, resumes to the same bytes."""

    def run(folder, objective, progress=None):
        lesson = replace(a_lesson(TwiceBright()), objective=objective)
        return outcome(tmp_path / folder, lesson, progress), objective

    whole, seen = run("whole", Remembering())
    with pytest.raises(Killed):
        run("parts", Remembering(), dying_at(27))
    parts, resumed = run("parts", Remembering())
    assert parts == whole
    assert seen.steps == list(range(1, 41))
    assert resumed.steps == list(range(21, 41))
    np.testing.assert_array_equal(resumed.visits, seen.visits)


def test_every_batch_is_learned_from_once(tmp_path):
    """The rows that the objective sees are those of the batches of all steps, each once."""
    feed, objective = BrightFeed(side=8), Remembering()
    taught(tmp_path, replace(a_lesson(TwiceBright(), steps=9, feed=feed), objective=objective))
    rows = np.concatenate([feed.batch(step).row for step in range(9)])
    assert objective.visits.tolist() == np.bincount(rows, minlength=PATCHES).tolist()


def test_same_seed_same_bytes(tmp_path):
    """Two trainings alike in everything leave the same bytes; another seed, other dropout, other weights."""

    def run(name, seed):
        return outcome(tmp_path / name, a_lesson(a_network(), steps=4, seed=seed))

    assert run("a", 5) == run("b", 5)
    assert run("c", 6)[0] != run("b", 5)[0]


def test_a_finished_training_is_not_trained_further(tmp_path):
    """Taking up a training whose last checkpoint is its end gives its result without a step."""
    expected = outcome(tmp_path, a_lesson(Brightness(), steps=3))
    assert outcome(tmp_path, a_lesson(Brightness(), steps=3), dying_at(3)) == expected


def test_kept_weights_are_the_moving_average(tmp_path):
    """What is returned is a_0 = w_0, a_t = d a_(t-1) + (1 - d) w_t over the weights after every step."""
    network, seen = Brightness(), []

    def progress(name, done, total, **facts):
        seen.append({key: value.detach().clone() for key, value in network.named_parameters()})

    expected = {key: value.detach().clone() for key, value in network.named_parameters()}
    taught(tmp_path, a_lesson(network, steps=12, feed=BrightFeed(side=8), ema_decay=0.7), progress)
    for weights in seen:
        expected = {key: 0.7 * expected[key] + 0.3 * weights[key] for key in expected}
    assert len(seen) == 12
    for key, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), expected[key], rtol=1e-5, atol=1e-7)
        assert not torch.equal(value.detach(), seen[-1][key])


def test_validation_sees_the_average_and_changes_nothing(tmp_path):
    """A validation in between is shown the averaged network in evaluation mode; the result is as without it."""
    shown = []

    def judge(network):
        shown.append((network.training, [p.detach().clone() for p in network.parameters()]))
        return {"judged": 1.0}

    plain, same = a_network(), a_network()
    rows = taught(tmp_path / "quiet", a_lesson(plain, steps=6, validations=2))
    more = taught(tmp_path / "judged", replace(a_lesson(same, steps=6, validations=2), validate=judge))
    assert [row for row in more if "judged" not in row] == rows
    assert [row["step"] for row in more if "judged" in row] == [3, 6]
    assert [training for training, _ in shown] == [False, False]
    for one, two, last in zip(plain.parameters(), same.parameters(), shown[-1][1], strict=True):
        assert torch.equal(one, two)
        assert torch.equal(two, last)


def test_the_loss_goes_down_on_a_trivial_problem(tmp_path):
    """Brightness alone tells the classes apart, and the loop finds it."""
    feed = BrightFeed(side=8, batch_size=16)
    history = taught(tmp_path, a_lesson(Brightness(), steps=120, feed=feed, rates=((0, 0.1),)))
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["score_figures"] > 0.6 > 0.4 > history[-1]["score_others"]


def test_what_goes_wrong_in_a_run_names_the_run(tmp_path):
    """A loss that is not finite: the message has the run's folder, wherever the checkpoint lies."""
    job = Job(cohort=None, fold=None, run=RunFolder(tmp_path / "run"), compute=CPU)
    lesson = a_lesson(Brightness(), steps=8, feed=BrightFeed(side=8), rates=((0.0, 1e-3), (0.5, 1e38)))
    with pytest.raises(TrainingError, match="not finite") as told:
        learn(lesson, job)
    assert told.value.where == str(tmp_path / "run")


def test_history_averages_rows_of_twenty_steps(tmp_path):
    """A row names the step it ends at, the patches seen and the rate; the rest of a training closes the last row."""
    rates = ((0, 1e-3), (0.5, 1e-4))
    history = taught(tmp_path, a_lesson(Brightness(), steps=45, feed=BrightFeed(side=8), rates=rates))
    assert [(row["step"], row["patches"], row["rate"]) for row in history] == [
        (20, 120, 1e-3),
        (40, 240, 1e-4),
        (45, 270, 1e-4),
    ]


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_a_loss_that_is_not_finite_is_told_with_step_and_rate(tmp_path, clip_norm):
    """The run stops with the step, the rate and a remedy, and the checkpoint from before stays finite."""
    rates = ((0.0, 1e-3), (0.5, 1e38))
    lesson = a_lesson(
        Brightness(), steps=8, feed=BrightFeed(side=8), rates=rates, checkpoint_every=2, clip_norm=clip_norm
    )
    with pytest.raises(
        TrainingError, match=r"'screening' is not finite at step [4-7] \(learning rate 1e\+38\)"
    ) as told:
        taught(tmp_path, lesson)
    assert told.value.remedy is not None
    assert "learning rates" in told.value.remedy
