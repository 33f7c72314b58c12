"""A search over mining regimes so small that it takes seconds."""

from tiny import ONE_CORE, mitosieve

TRAINING = ("patch_visits=96", "batch_size=16", "checkpoint_every=2", "validations=1")
SETTINGS = (
    *(f"{part}.{setting}" for part in ("first.train", "trial", "ensemble.train") for setting in TRAINING),
    "network.widths=[2, 3, 4, 4]",
    "network.head=4",
    "first.parts=2",
    "search.labelled=[1.0, 0.5]",
    "search.seeds=2",
    "ensemble.members=2",
    "controls=[]",
)


def a_cohort(folder):
    """Five labelled cases of two small slides and one without marks, with a split."""
    sizes = ("--cases", 6, "--slides-per-case", 2, "--size", 400, "--seed", 3, "--unlabelled-cases", 1)
    assert mitosieve("phantom", folder, *sizes).code == 0
    assert mitosieve("split", folder, "--folds", 3, "--out", folder / "split.json").code == 0
    return folder


def training(cohort, out, *more):
    """Words of the command that trains fold A."""
    words = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    fold = ("--split", cohort / "split.json", "--fold", "A")
    return ("train", "finegrained-small", cohort, *fold, "--out", out, *ONE_CORE, *words)
