"""How often does the 95 % interval of few cases hold the truth? `python bench/few_cases.py [--spread 0.15]`

Cases are drawn from a population in which a detector's recall and its false alarms differ by case (`--spread`: standard
deviation of recall; of 0.15 the F1 of seven patients of MITOS-ATYPIA-14 lies between 0.4 and 0.7, as it does), ten
slides of five figures each. The truth is the F1 of 20,000 cases, and of two detectors the difference between theirs. An
interval draws cases, or slides within cases (`resample`): the share of trials in which it holds the truth should be
0.95.
"""

import argparse

import numpy as np

from mitosieve.score.interval import interval_of, resample

CASES = (2, 3, 4, 5, 7, 10, 20, 40)
SLIDES, FIGURES, RECALL, FALSE, APART, BY_BOTH = 10, 5, 0.6, 2.0, 0.5, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spread", type=float, default=0.15)
    parser.add_argument("--trials", type=int, default=1000)
    asked = parser.parse_args()
    truth = f1(some_cases(20_000, asked.spread, np.random.default_rng(0)).sum(axis=0, keepdims=True))[0]
    print(f"spread {asked.spread:g}, {asked.trials} trials: share of intervals that hold the truth, cases | slides")
    for number in CASES:
        held = np.array([holds(number, asked.spread, truth, trial) for trial in range(asked.trials)]).mean(axis=0)
        print(
            f"{number:2d} cases: F1 {held[0]:.3f} | {held[1]:.3f}, a difference of two {held[2]:.3f} | {held[3]:.3f}",
            flush=True,
        )


def holds(number: int, spread: float, truth: np.ndarray, trial: int) -> list[bool]:
    """F1 by cases, by slides; the difference of two detectors by cases, by slides."""
    table = some_cases(number, spread, np.random.default_rng((trial, number)))
    case_id = [f"c{case:02d}" for case in range(number) for _ in range(SLIDES)]
    held: dict[str, list[bool]] = {}
    for min_cases in (2, number + 1):
        drawn = resample(table, case_id, np.random.default_rng(trial), resamples=1000, min_cases=min_cases)
        both = f1(drawn.sums)
        ends, apart = interval_of(both[:, 0]), interval_of(both[:, 0] - both[:, 1])
        held[drawn.unit] = [ends.low <= truth[0] <= ends.high, apart.low <= truth[0] - truth[1] <= apart.high]
    return [held[unit][figure] for figure in (0, 1) for unit in ("cases", "slides within cases")]


def some_cases(number: int, spread: float, draw: np.random.Generator) -> np.ndarray:
    """(S, 6) found, false, missed of one detector and of another on the same slides."""
    easy, clean = draw.normal(0, spread, number), draw.normal(0, APART, number)
    columns = []
    for _ in range(2):
        recall = np.clip(RECALL + easy + draw.normal(0, BY_BOTH, number), 0.02, 0.98)
        found = draw.binomial(FIGURES, np.repeat(recall, SLIDES))
        false = draw.poisson(np.repeat(FALSE * np.exp(clean + draw.normal(0, 0.2, number)), SLIDES))
        columns += [found, false, FIGURES - found]
    return np.stack(columns, axis=1).astype(np.int64)


def f1(sums: np.ndarray) -> np.ndarray:
    """(B, 2) of (B, 6) found, false, missed of two detectors."""
    found, false, missed = sums[:, 0::3], sums[:, 1::3], sums[:, 2::3]
    return 2 * found / (2 * found + false + missed)


if __name__ == "__main__":
    main()
