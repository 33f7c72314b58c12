"""Train a detector with hard example mining and one without, and compare them on patients that neither has seen.

    python examples/train_mine_compare.py [FOLDER]

Runs by itself: it draws synthetic tissue, whose scores say nothing of accuracy on tissue, and its trainings are so
short that they show the way and nothing more. On your own data: your cohort and split, `settings = []`, a full recipe.
"""

# %% A cohort with known truth, and folds by patient
import sys
from pathlib import Path

import numpy as np

from mitosieve import Cohort, Detector, Split, detect, evaluate
from mitosieve.phantom import PhantomConfig, make_phantom

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "example")
generator = np.random.default_rng(7)
make_phantom(folder / "cohort", PhantomConfig(cases=6, slides_per_case=2, size_px=(384, 384)), generator)
cohort = Cohort.load(folder / "cohort")
split = Split.by_case(cohort, folds=3, generator=generator)
cases = split.fold("A").test
cohort

# %% Two trainings that differ in one thing: whether the second network learns from the first one's mistakes
from mitosieve.network.compute import Compute
from mitosieve.recipe.recipe import FoldRun, load_recipe, train_fold

settings = [  # a minute on two cores; leave them out for a training that is worth its name
    "network.width=0.03125",
    *(f"{stage}.{key}" for stage in ("screening", "refined") for key in ("patch_visits=160", "batch_size=16")),
]
compute = Compute.choose("cpu")
for name, mining in (("mined", "true"), ("unmined", "false")):
    recipe = load_recipe("chsnet-small", [*settings, f"mining.enabled={mining}"])
    run = FoldRun(recipe=recipe, cohort=cohort, split=split, fold="A", out=folder / name)
    train_fold(run, compute=compute, resume=(folder / name / "run.json").exists())

# %% Each on the test patients, by the official rule; the scores stand beside the run
from mitosieve.score.evaluated import write_evaluation

results = {}
for name in ("mined", "unmined"):
    found = detect(Detector.load(folder / name), cohort, cases=cases)
    results[name] = evaluate(found, cohort, cases=cases)
    write_evaluation(folder / name / "test" / "metrics.json", results[name])
    print(name, results[name])

# %% The difference with a paired interval: resamples hold the same patients for both
from mitosieve.score.evaluated import compare_folders

compared = compare_folders([folder / "unmined" / "test", folder / "mined" / "test"])
for row in compared.to_json()["differences"]:
    print(f"{row['second']} - {row['first']}: {row['figure']} {row['difference']} {row['interval']}")

# %% Curves of both
figures = {name: result.plot() for name, result in results.items()}
for name, figure in figures.items():
    figure.savefig(folder / f"{name}.png", dpi=150)
