"""Publishes what a study left: `python docs/publish_study.py OUT NAME` fills docs/studies/NAME, then docs/results.md.

Tables, page, the study as it was run without the places of its data, and the records of its trainings: what anybody
needs to make the tables again, and nothing of this machine's disk.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

import tomli_w
from make_results import DOCS, main

TABLES = ("study.csv", "study.md", "study.html")
TRAININGS, STUDY = "trainings", "study.toml"
PLACES = ("cohort", "split")
SEED = re.compile(r"-seed(\d+)-")


def publish(out: Path, to: Path) -> None:
    """Copy a study's folder, in place of what an earlier one left there, which stays until all of the new is copied.

    Records of seeds that the study does not ask for, which an earlier try left, are not copied.

    Raises:
        OSError: it is no folder of a study that was done.
    """
    study = tomllib.loads((out / STUDY).read_text(encoding="utf-8"))
    new = to.with_name(f"{to.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    for name in TABLES:
        shutil.copyfile(out / name, new / name)
    (new / STUDY).write_text(tomli_w.dumps(study | dict.fromkeys(PLACES, "")), encoding="utf-8")
    for record in sorted((out / TRAININGS).iterdir()):
        seed = SEED.search(record.name)
        if seed is not None and int(seed[1]) in study["seeds"]:
            shutil.copytree(record, new / TRAININGS / record.name)
    if to.exists():
        shutil.rmtree(to)
    new.rename(to)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), DOCS / "studies" / sys.argv[2])
    main()
