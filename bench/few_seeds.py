"""How often is p below 0.05 where two rows do not differ? `python bench/few_seeds.py [--cases 7] [--spread 0.03]`

Rows of a study are compared on the same cases by trainings of 1, 2, 3, 5 or 10 seeds (`compare_repeats`). Here both
rows of each trial find figures with the same chance; what a training finds of a case differs from it by the case, alike
for all, by case and training, and by the training alone (`--spread`: standard deviation of that, in recall; with 0.03
two trainings of a row differ by 0.041 in F1, root mean square, as swift's two rows did on two processors: 0.049 and
0.027). What is above 0.05 is how much too sure p is.
"""

import argparse

import numpy as np

from mitosieve.score.repeated import Repeats, compare_repeats
from mitosieve.score.scored import Scored
from mitosieve.score.table import SlideScore

SEEDS = (1, 2, 3, 5, 10)
SLIDES, FIGURES, FALSE, BY_CASE, BY_BOTH = 10, 5, 2.0, 0.15, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=7)
    parser.add_argument("--spread", type=float, default=0.03)
    parser.add_argument("--trials", type=int, default=400)
    asked = parser.parse_args()
    print(f"{asked.cases} cases, spread {asked.spread:g}, {asked.trials} trials: share with p < 0.05")
    for number in SEEDS:
        below = [is_below(asked.cases, asked.spread, number, trial) for trial in range(asked.trials)]
        print(f"{number} {'seed ' if number == 1 else 'seeds'}: {np.mean(below):.3f}")


def is_below(cases: int, spread: float, number: int, trial: int) -> bool:
    """Whether two rows of equal chance are told apart."""
    draw = np.random.default_rng((trial, number))
    by_case = draw.normal(0, BY_CASE, cases)
    rows = [
        Repeats(
            name=name,
            by_seed={
                seed: a_training(0.6 + by_case + draw.normal(0, spread) + draw.normal(0, BY_BOTH, cases), draw)
                for seed in range(number)
            },
        )
        for name in "ab"
    ]
    compared = compare_repeats(rows, "a", np.random.default_rng(trial), resamples=400, names=("f1", "ap"))
    return compared.rows[1].differences["f1"].p < 0.05


def a_training(recall: np.ndarray, draw: np.random.Generator) -> Scored:
    """What one training finds, `recall` by case."""
    case = np.repeat(np.arange(len(recall)), SLIDES)
    found = draw.binomial(FIGURES, np.clip(recall, 0.02, 0.98)[case])
    false = draw.poisson(FALSE, len(case))
    slides = tuple(
        SlideScore(slide_id=f"s{n:04d}", case_id=f"c{case[n]:02d}", domain="d", area_mm2=0.1, tp=int(found[n]),
                   fp=int(false[n]), fn=int(FIGURES - found[n]))
        for n in range(len(case))
    )  # fmt: skip
    slide = np.concatenate([np.repeat(np.arange(len(case)), found), np.repeat(np.arange(len(case)), false)])
    gain = np.repeat([1, 0], [found.sum(), false.sum()])
    score = draw.uniform(0.3, 1.0, len(gain)) * np.where(gain, 1.0, 0.8)
    order = np.argsort(-score, kind="stable")
    return Scored(slides=slides, score=score[order], slide=slide[order], gain=gain[order])


if __name__ == "__main__":
    main()
