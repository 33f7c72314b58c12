"""Publishes what a study left: `python docs/publish_study.py OUT NAME` fills docs/studies/NAME, then docs/results.md.

Tables, page, the study as it was run without the places of its data, and the records of its trainings: what anybody
needs to make the tables again, and nothing of this machine's disk.
"""

import shutil
import sys
import tomllib
from pathlib import Path

import tomli_w
from make_results import DOCS, main

TABLES = ("study.csv", "study.md", "study.html")
TRAININGS, STUDY = "trainings", "study.toml"
PLACES = ("cohort", "split")


def publish(out: Path, to: Path) -> None:
    """Copy a study's folder, in place of what an earlier one left there.

    Raises:
        OSError: it is no folder of a study.
    """
    study = tomllib.loads((out / STUDY).read_text(encoding="utf-8"))
    if to.exists():
        shutil.rmtree(to)
    to.mkdir(parents=True)
    for name in TABLES:
        shutil.copyfile(out / name, to / name)
    (to / STUDY).write_text(tomli_w.dumps(study | dict.fromkeys(PLACES, "")), encoding="utf-8")
    shutil.copytree(out / TRAININGS, to / TRAININGS)


if __name__ == "__main__":
    publish(Path(sys.argv[1]), DOCS / "studies" / sys.argv[2])
    main()
