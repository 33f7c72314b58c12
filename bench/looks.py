"""How several networks look: `python bench/looks.py RUN/detector COHORT --cases H04`.

The same networks score the same places in all eight orientations each, once each at an orientation of its own, and once
each as the patch is. Printed: found, false and missed, F1 at the detector's threshold, average precision, CPU seconds.
The scale of the last stage stays that of the detector, which was fitted to the way it looks.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from mitosieve.cohort.cohort import Cohort
from mitosieve.network.compute import Compute
from mitosieve.score.evaluation import evaluate
from mitosieve.sieve.cascade import detect
from mitosieve.sieve.detector import Detector

WAYS: dict[str, dict[str, Any]] = {
    "all eight, each": {"looks": "all", "turns": 8},
    "once each, as it is": {"looks": "all", "turns": 1},
    "once each, turned": {"looks": "one", "turns": 8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--cases", required=True, help="comma-separated")
    asked = parser.parse_args()
    detector, cohort = Detector.load(asked.detector), Cohort.load(asked.cohort)
    cases = tuple(asked.cases.split(","))
    *before, last = detector.config.stages
    for name, way in WAYS.items():
        config = detector.config.model_copy(update={"stages": (*before, last.model_copy(update=way))})
        start = time.process_time()
        found = detect(replace(detector, config=config), cohort, cases=cases, compute=Compute.choose("cpu"))
        result = evaluate(found, cohort, cases=cases)
        told = result.pooled
        print(
            f"{name}: {told.tp} / {told.fp} / {told.fn}, F1 {result.f1:.3f}, AP {result.ap:.3f}, "
            f"{time.process_time() - start:.0f} CPU s",
            flush=True,
        )


if __name__ == "__main__":
    main()
