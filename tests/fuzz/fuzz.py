"""Mutates whole files and reads them: nothing but the project's own errors, no hang over 20 s, no memory over 2 GB.

    PYTHONPATH=tests:tests/slide python tests/fuzz/fuzz.py KIND|all [COUNT [FIRST]]

Seeds are FIRST to FIRST + COUNT - 1; a failure names its seed, and COUNT 1 with that seed shows it again.
"""

import faulthandler
import json
import logging
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from mutations import mutated
from targets import TARGETS, places_of

from mitosieve.errors import MitosieveError

LONGEST_S, MOST_BYTES = 20, 2 * 2**30


def fuzz(kind: str, count: int, first: int) -> dict:
    """Every seed of a kind: how many were read and refused, the slowest and the memory; faults with their seeds."""
    target = TARGETS[kind]
    told = {"kind": kind, "files": count, "read": 0, "refused": 0, "slowest_s": 0.0, "faults": []}
    with tempfile.TemporaryDirectory() as folder:
        files = target.make(Path(folder))
        whole = {path: path.read_bytes() for path in files}
        places = {path: places_of(path, content) for path, content in whole.items()}
        target.read(files[0])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for seed in range(first, first + count):
            path = files[seed % len(files)]
            path.write_bytes(mutated(whole[path], seed, places[path]))
            start = time.perf_counter()
            faulthandler.dump_traceback_later(LONGEST_S, exit=True)
            try:
                target.read(path)
                told["read"] += 1
            except MitosieveError:
                told["refused"] += 1
            except Exception:  # noqa: BLE001 - each is a fault of ours, and is told
                told["faults"].append(f"seed {seed} ({path.name}): {traceback.format_exc(limit=-6)}")
            finally:
                faulthandler.cancel_dump_traceback_later()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if peak > MOST_BYTES > before:
                told["faults"].append(f"seed {seed} ({path.name}): {peak / 2**30:.2f} GB")
                before = peak
            told["slowest_s"] = round(max(told["slowest_s"], time.perf_counter() - start), 2)
            path.write_bytes(whole[path])
    told["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return told


def main() -> None:
    words = sys.argv[1:]
    kind, count, first = words[0], int((words[1:2] or [1000])[0]), int((words[2:3] or [0])[0])
    if kind == "all":
        codes = [subprocess.call([sys.executable, __file__, name, str(count), str(first)]) for name in TARGETS]
        sys.exit(max(codes))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    told = fuzz(kind, count, first)
    print(json.dumps({key: value for key, value in told.items() if key != "faults"}), flush=True)
    for fault in told["faults"]:
        print(fault)
    sys.exit(bool(told["faults"]))


if __name__ == "__main__":
    main()
