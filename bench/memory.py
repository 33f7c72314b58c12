"""Seconds of a dynamic memory for 1e6 samples: visits, end of an epoch, verdicts, with and without firing patterns.

Run: python bench/memory.py [--samples 1000000] [--features 1024] [--batch 512] [--epochs 8]
"""

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from mitosieve.method.dasc.rules.levels import LevelConfig, difficulty_levels
from mitosieve.method.dasc.rules.memory import Memory, MemoryConfig
from mitosieve.method.dasc.rules.verdict import Verdict, VerdictConfig, label_verdicts, suspicion

FIGURES = 0.3
WRONG = 0.1
POOL = 2048
"""Different firing patterns of each class."""

T = TypeVar("T")


def timed(what: str, job: Callable[[], T]) -> T:
    """Run, print seconds, return the result."""
    start = time.perf_counter()
    result = job()
    print(f"  {what:<44}{time.perf_counter() - start:8.3f} s")
    return result


def run(samples: int, features: int, batch: int, epochs: int) -> tuple[Memory, np.ndarray]:
    """One training of heads that come to know the truth; the memory, and which labels are wrong."""
    print(f"{samples} samples, {features} features, batches of {batch}")
    generator = np.random.default_rng(1)
    truth, wrong = generator.random(samples) < FIGURES, generator.random(samples) < WRONG
    pool = generator.random((2, POOL, features)) < np.array([0.4, 0.5])[:, None, None]
    config = MemoryConfig(warm_up=min(5, epochs - 2))
    label = (truth ^ wrong).astype(np.int8)
    memory = Memory.of(np.arange(samples), label, config, epochs=epochs, features=features)

    def visits(probability: np.ndarray) -> None:
        order = generator.permutation(samples)
        for start in range(0, samples, batch):
            rows = order[start : start + batch]
            active = pool[truth[rows].astype(int), rows % POOL] if features else None
            memory.visit(rows, probability[rows], active)

    for epoch in range(epochs):
        sure = generator.normal(min(epoch, 8) / 2, 1.5, (samples, 3))
        probability = (1 / (1 + np.exp(-np.where(truth[:, None], sure, -sure)))).astype(np.float32)
        timed(f"visits of epoch {epoch}, with making patterns", lambda p=probability: visits(p))
        timed(f"end of epoch {epoch}", lambda e=epoch: memory.end_epoch(e))
    return memory, wrong


def conclude(memory: Memory, wrong: np.ndarray) -> None:
    """Time what is done once, at the end of a training."""
    found = timed("verdicts, rule fraction", lambda: label_verdicts(memory, VerdictConfig(), seed=0))
    timed("verdicts, rule literal", lambda: label_verdicts(memory, VerdictConfig(rule="literal"), seed=0))
    rank = timed("suspicion", lambda: suspicion(memory))
    hard = found == Verdict.HARD.value
    rates = (memory.forget_rate, memory.centroid_rate)
    timed(
        f"levels of {int(hard.sum())} hard samples",
        lambda: difficulty_levels(*rates, memory.label, hard, LevelConfig(), seed=0),
    )
    noise = found == Verdict.NOISE.value
    print(
        f"noise: {int(noise.sum())} of which {int((noise & wrong).sum())} of {int(wrong.sum())} wrong labels; "
        f"mean suspicion of wrong labels {rank[wrong].mean():.3f}, of right ones {rank[~wrong].mean():.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--epochs", type=int, default=8)
    asked = parser.parse_args()
    run(asked.samples, 0, asked.batch, asked.epochs)
    conclude(*run(asked.samples, asked.features, asked.batch, asked.epochs))


if __name__ == "__main__":
    main()
