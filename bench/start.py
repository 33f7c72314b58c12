"""How long what is told at once takes, as processes: the median of ten each. Goal: under 0.3 s on an idle machine.

    python bench/start.py [SLIDE]

Help, the version, lists, facts of a slide, and refusals of bad arguments.
"""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

TIMES = 10
COMMANDS = (
    ("--help",),
    ("--version",),
    ("recipes",),
    ("detect", "gone.svs", "--out", "new"),
    ("train", "swfit", "cohort", "--split", "split.json", "--fold", "A", "--out", "new"),
    ("report", "nowhere"),
)


def main() -> None:
    slide = sys.argv[1:2]
    program = str(Path(sys.executable).parent / "mitosieve")
    for words in (*COMMANDS, *((("info", slide[0]),) if slide else ())):
        wall: list[float] = []
        before = os.times()
        for _ in range(TIMES):
            start = time.perf_counter()
            subprocess.run([program, *words], check=False, capture_output=True)
            wall.append(time.perf_counter() - start)
        after = os.times()
        cpu = (after.children_user + after.children_system - before.children_user - before.children_system) / TIMES
        print(f"{statistics.median(wall):.3f} s, CPU {cpu:.3f} s: mitosieve {' '.join(words)}")


if __name__ == "__main__":
    main()
