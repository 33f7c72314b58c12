"""Hashes of all that short trainings of every method leave: for a change that must not move a byte.

    python bench/same_bytes.py OUT                   train, detect, score, audit; write OUT/hashes.json
    python bench/same_bytes.py OUT --against FILE    the same, and print what differs from an earlier hashes.json
    python bench/same_bytes.py OUT --hash            only hash OUT, which an earlier call or `make demo` has made

A phantom of six small cases and an unlabelled one, one thread, some two minutes. Times and versions are left out.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path

UNSTABLE = {
    "timing.json",
    "log.txt",
    "history.csv",
    "timing.csv",
    "machine.json",
    "versions.json",
    "run.json",
    "inference.json",
    ".lock",
    "report.html",
}
SHORT = ("batch_size=16", "checkpoint_every=4", "validations=1")
SETTINGS: dict[str, tuple[str, ...]] = {
    "chsnet-small": (
        "network.width=0.0625",
        "mining.scores=out-of-fold",
        "cascade.parts_too=true",
        "cascade.proposer.min_darkness=0",
        *(f"{part}.{more}" for part in ("screening", "refined") for more in (*SHORT, "patch_visits=480")),
    ),
    "swift": tuple(
        f"{part}.train.{more}" for part in ("screening", "refined") for more in (*SHORT, "patch_visits=960")
    ),
    "finegrained-small": (
        *(
            f"{part}.{more}"
            for part in ("first.train", "trial", "ensemble.train")
            for more in (*SHORT, "patch_visits=96")
        ),
        "network.widths=[2, 3, 4, 4]",
        "network.head=4",
        "first.parts=2",
        "search.labelled=[1.0, 0.5]",
        "search.seeds=2",
        "search.rounds=2",
        "ensemble.members=2",
    ),
    "dasc-small": (
        "network.width=0.125",
        "search.train.patch_visits=320",
        "search.threshold=0.2",
        "memory.train.epochs=4",
        "memory.memory.warm_up=1",
        "levels.train.epochs=3",
        "levels.levels.warm_up=1",
        "contrast.train.epochs=4",
        "contrast.loss.warm_up=1",
        "contrast.loss.renew_epochs=2",
        "out_of_fold.train.epochs=1",
        "controls=['search', 'memory', 'levels', 'contrast', 'rule']",
        *(
            f"{part}.train.{more}"
            for part in ("search", "memory", "levels", "contrast", "out_of_fold")
            for more in ("batch_size=16", "checkpoint_every=4")
        ),
    ),
}


def mitosieve(*words: object) -> None:
    """Run a command of the package that this Python imports."""
    command = [sys.executable, "-m", "mitosieve.cli", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{done.stdout}\n{done.stderr}")


def make(out: Path) -> None:
    """Everything a user can make of one cohort by every method."""
    cohort, split = out / "cohort", out / "split.json"
    sizes = ("--cases", 6, "--slides-per-case", 2, "--size", 640, "--seed", 7, "--unlabelled-cases", 1)
    mitosieve("phantom", cohort, *sizes)
    mitosieve("split", cohort, "--folds", 3, "--seed", 1, "--out", split)
    fold = ("--split", split, "--fold", "A")
    for recipe, settings in SETTINGS.items():
        run = out / recipe
        words = [word for setting in settings for word in ("--set", setting)]
        mitosieve("train", recipe, cohort, *fold, "--out", run, "--threads", 1, *words)
        mitosieve("detect", "--detector", run, "--cohort", cohort, *fold, "--out", run / "test", "--threads", 1)
        mitosieve("evaluate", run / "test", cohort, *fold)
        mitosieve("report", run)
    mitosieve("audit", out / "dasc-small", "--out", out / "audit")


def hashes(out: Path) -> dict[str, str]:
    """SHA-256, shortened, of every file that holds a result, by its path below `out`, whose own name is taken out.

    The parts of a job are called by a hash of their slide's path, and all is in the job's tables: they are left out.
    """
    here = str(out.resolve()).encode()
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes().replace(here, b"OUT")).hexdigest()[:16]
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in UNSTABLE and path.name != "hashes.json" and path.parent.name != "parts"
    }


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--hash", action="store_true")
    asked = parser.parse_args()
    if not asked.hash:
        asked.out.mkdir(parents=True)
        make(asked.out)
    found = hashes(asked.out)
    (asked.out / "hashes.json").write_text(json.dumps(found, indent=1) + "\n")
    kinds = {"weights": (".safetensors",), "detections": ("detections.csv",), "tables": (".csv", ".json", ".parquet")}
    for kind, ends in kinds.items():
        told = [f"{name} {value}" for name, value in found.items() if name.endswith(ends)]
        digest = hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
        print(f"{kind:12} {len(told):4} files  {digest}")
    if asked.against is not None:
        before = json.loads(asked.against.read_text())
        for name in sorted(before.keys() | found.keys()):
            if before.get(name) != found.get(name):
                print(f"differs: {name}  {before.get(name, 'absent')} -> {found.get(name, 'absent')}")


if __name__ == "__main__":
    main()
