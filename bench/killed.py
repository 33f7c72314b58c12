"""Jobs that are disturbed at random moments and taken up again: 0 bytes different, 0 files half written.

    python bench/killed.py OUT [--runs 100] [--seed 0] [--only train detect import disk slide]

`train`, `detect` and `import` are ended by kill -9 at a random time of what the whole job takes; `disk` gives detection
a disk of a random size that is too small (a tmpfs, which needs root; without it, a limit on the size of a file);
`slide` cuts a slide off while it is read. Then what is left is looked at, the fault is mended, the same command is
repeated with --resume (import: as it was), and the result is compared with that of a job that nothing disturbed.
The runs are shared among the kinds. Each prints its seed; --runs 1 --seed N --only KIND does it again.
"""

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

NEVER_COMPARED = {"timing.json", "timing.csv", "machine.json", "versions.json", "run.json", "log.txt", ".lock"}
GROWING = {"history.csv"}
"""A job adds lines to these as it goes: half written is one that ends within a line."""
PART = ("patch_visits=160", "batch_size=16", "checkpoint_every=2", "validations=1")
SHORT = ["network.width=0.03125", *(f"{part}.{value}" for part in ("screening", "refined") for value in PART)]
KINDS = ("train", "detect", "import", "disk", "slide")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "mitosieve.cli", *map(str, words)]


def done(words: list[str], *, codes: tuple[int, ...] = (0,), **options: object) -> subprocess.CompletedProcess[str]:
    """Run to the end; an unforeseen exit code or a traceback ends the bench."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(words, capture_output=True, text=True, check=False, env=env, **options)  # type: ignore[call-overload]
    if told.returncode not in codes or "Traceback" in told.stderr:
        raise SystemExit(f"exit {told.returncode}: {' '.join(words)}\n{told.stderr[-3000:]}")
    return told


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but those that hold times and machines."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in NEVER_COMPARED
    }


class Jobs:
    """A phantom cohort and the commands that are disturbed."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.cohort, self.split = out / "cohort", out / "split.json"
        if not self.split.exists():
            done(command("phantom", self.cohort, "--cases", 4, "--slides-per-case", 1, "--size", 384, "--seed", 7))
            done(command("split", self.cohort, "--folds", 3, "--out", self.split))
            self.labels()
        self.detector = out / "train-whole"

    def labels(self) -> None:
        """The cohort's marks as a table of points."""
        rows = (self.cohort / "annotations.csv").read_text().splitlines()
        names = dict(line.split(",")[:2] for line in (self.cohort / "slides.csv").read_text().splitlines()[1:])
        head = rows[0].split(",")
        fields = [dict(zip(head, row.split(","), strict=True)) for row in rows[1:]]
        table = ["image,x,y,label,case"]
        table += [f"{Path(names[f['slide_id']]).name},{f['x']},{f['y']},{f['label']},{f['slide_id']}" for f in fields]
        (self.out / "labels.csv").write_text("\n".join(table) + "\n")

    def words(self, kind: str, out: Path, *, slides: Path | None = None) -> list[str]:
        if kind == "train":
            more = [word for value in SHORT for word in ("--set", value)]
            where = ("--split", self.split, "--fold", "A", "--out", out, "--threads", 1)
            return command("train", "chsnet-small", self.cohort, *where, *more)
        if kind == "import":
            where = ("--images", self.cohort / "images", "--mpp", 0.25)
            return command("import", "points", self.out / "labels.csv", out, *where)
        images = slides or self.cohort / "images"
        return command("detect", images, "--detector", self.detector, "--mpp", 0.25, "--threshold", 0, "--out", out,
                       "--threads", 1, "--workers", 0, "--format", "geojson,parquet")  # fmt: skip

    def whole(self, kind: str) -> tuple[dict[str, bytes], float]:
        """What the undisturbed job leaves, and how long it takes."""
        out = self.out / f"{kind}-whole"
        start = time.monotonic()
        if not out.exists():
            done(self.words(kind, out))
            (self.out / f"{kind}.json").write_text(json.dumps(time.monotonic() - start))
        return files_of(out), json.loads((self.out / f"{kind}.json").read_text())


def half_written(out: Path, whole: dict[str, bytes]) -> list[str]:
    """Files that bear their final name and are not what the undisturbed job leaves there, though it leaves them last.

    A file that a job writes several times, as a checkpoint, is only asked to be one that can be read: by the resume.
    """
    left = files_of(out) if out.exists() else {}
    names = [name for name in left if name in whole and not Path(name).name.startswith(".")]
    short = [name for name in names if left[name] != whole[name] and len(left[name]) < len(whole[name])
             and whole[name].startswith(left[name])]  # fmt: skip
    return [name for name in short if Path(name).name not in GROWING or (left[name] and not left[name].endswith(b"\n"))]


def killed(jobs: Jobs, kind: str, generator: np.random.Generator, out: Path) -> dict[str, object]:
    whole, seconds = jobs.whole(kind)
    words = jobs.words(kind, out)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    after = float(generator.uniform(0, seconds))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    process.kill()
    process.wait()
    half = half_written(out, whole)
    if kind == "import":
        if not (out.exists() and files_of(out) == whole):
            done(words)
    else:
        done([*words, "--resume"])
    return {"after_s": round(after, 2), "half": half, "different": differing(out, whole)}


def differing(out: Path, whole: dict[str, bytes]) -> list[str]:
    left = files_of(out)
    return sorted(name for name in {*left, *whole} if left.get(name) != whole.get(name))


@contextlib.contextmanager
def a_disk(folder: Path, kilobytes: int) -> Iterator[bool]:
    """A disk of a size; False where none may be mounted."""
    folder.mkdir()
    mounted = os.system(f"mount -t tmpfs -o size={kilobytes}k tmpfs {folder} 2>/dev/null") == 0
    try:
        yield mounted
    finally:
        if mounted:
            os.system(f"umount {folder}")


def disk(jobs: Jobs, generator: np.random.Generator, out: Path) -> dict[str, object]:
    whole, _ = jobs.whole("detect")
    needed = sum(-(-len(content) // 4096) * 4 for content in whole.values())
    share = float(generator.uniform(0.05, 0.95))
    with a_disk(out, max(16, int(needed * share))) as mounted:
        inside = out / "out"
        words = jobs.words("detect", inside)
        limit = int(max(map(len, whole.values())) * share)
        options = {} if mounted else {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))}
        told = done(words, codes=(0, 2), **options)
        half = half_written(inside, whole) + [str(path) for path in inside.rglob("*.part")]
        if mounted:
            os.system(f"mount -o remount,size=50m {out}")
        done([*words, "--resume"] if (inside / "run.json").exists() else words)
        return {"kind": "tmpfs" if mounted else "file size limit", "share": round(share, 2), "exit": told.returncode,
                "half": half, "different": differing(inside, whole)}  # fmt: skip


def slide(jobs: Jobs, generator: np.random.Generator, out: Path) -> dict[str, object]:
    whole, seconds = jobs.whole("detect")
    slides = out.with_suffix(".slides")
    shutil.copytree(jobs.cohort / "images", slides)
    victim = sorted(slides.iterdir())[int(generator.integers(4))]
    words = jobs.words("detect", out, slides=slides)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    after = float(generator.uniform(0, seconds))
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after)
    state = victim.stat()
    os.truncate(victim, state.st_size // 2)
    _, told = process.communicate()
    if process.returncode not in (0, 1) or "Traceback" in told:
        raise SystemExit(told)
    rest = b"".join(line for line in whole["detections.csv"].splitlines(keepends=True)
                    if not line.startswith(f"{victim.stem},".encode()))  # fmt: skip
    ended = (out / "detections.csv").read_bytes()  # the job ended by itself: its table is of the slides that were done
    half = [name for name in half_written(out, whole) if name != "detections.csv" or ended != rest]
    shutil.copy2(jobs.cohort / "images" / victim.name, victim)
    done([*words, "--resume"])
    left, same = files_of(out), {name: content for name, content in whole.items() if not name.startswith("parts/")}
    different = sorted(name for name in same if left.get(name) != same[name] and name != "detect.json")
    shutil.rmtree(slides)
    return {"after_s": round(after, 2), "exit": process.returncode, "half": half, "different": different}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    jobs = Jobs(args.out.resolve())
    jobs.whole("train")
    faults = 0
    for seed in range(args.seed, args.seed + args.runs):
        kind = args.only[seed % len(args.only)]
        generator = np.random.default_rng(seed)
        out = jobs.out / f"run-{seed}"
        if kind in ("disk", "slide"):
            told = (disk if kind == "disk" else slide)(jobs, generator, out)
        else:
            told = killed(jobs, kind, generator, out)
        faults += bool(told["half"] or told["different"])
        print(json.dumps({"seed": seed, "job": kind, **told}), flush=True)
        shutil.rmtree(out, ignore_errors=True)
    print(f"{args.runs} runs, {faults} with a file half written or a byte different")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
