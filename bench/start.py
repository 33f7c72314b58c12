"""How long `mitosieve --help` takes, as a process: the median of ten. Goal: under 0.5 s."""

import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    command = [str(Path(sys.executable).parent / "mitosieve"), "--help"]
    seconds: list[float] = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - start)
    print(f"mitosieve --help: {statistics.median(seconds):.3f} s (median of {len(seconds)})")


if __name__ == "__main__":
    main()
