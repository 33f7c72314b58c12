"""What a cluster costs beside the work: `python bench/cluster.py [--slides 20,60] [--seconds 0.5]`. Aim: under 2 %.

Four workers of a Ray on this machine do "slides" that sleep for so long, so that they do not fight for its cores, and
write one small file each, as a slide's part is. Each map starts a Ray of its own, so that overhead is told of what is
added from one number of slides to the next: the time that it takes over the work divided among the workers, less one.
What stays is starting, which is paid once a job. A step that is quadratic shows as overhead that grows.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from mitosieve.parallel import ClusterConfig, Task
from mitosieve.parallel.tasks import run_tasks

WORKERS = 4


def one_slide(given: tuple[str, float, str]) -> str:
    """Sleep, and leave a file."""
    name, seconds, folder = given
    time.sleep(seconds)
    (Path(folder) / f"{name}.csv").write_text("slide_id,x,y,score\n" * 100)
    return name


def measure(number: int, seconds: float, folder: Path, config: ClusterConfig) -> float:
    """Seconds of a map over so many slides."""
    tasks = [
        Task(name=f"slide-{i:05d}", given=(f"slide-{i:05d}", seconds, str(folder)), needs=(folder,))
        for i in range(number)
    ]
    start = time.perf_counter()
    results = run_tasks(one_slide, tasks, config=config, shared=folder)
    failed = [result.error for result in results if result.error is not None]
    if failed:
        raise SystemExit(str(failed[0]))
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", default="20,60", help="numbers of slides, comma-separated")
    parser.add_argument("--seconds", type=float, default=0.5, help="work of a slide")
    asked = parser.parse_args()
    config = ClusterConfig(address="auto", num_cpus=len(os.sched_getaffinity(0)) / WORKERS)
    with tempfile.TemporaryDirectory(prefix="bench-cluster-") as name:
        folder = Path(name)
        before, before_s = WORKERS, measure(WORKERS, asked.seconds, folder, config)
        print(
            f"{before} slides of {asked.seconds:g} s, and starting {WORKERS} workers: {before_s:.1f} s",
            flush=True,
        )
        for number in map(int, asked.slides.split(",")):
            took = measure(number, asked.seconds, folder, config)
            added, work = took - before_s, (number - before) * asked.seconds / WORKERS
            print(
                f"{number} slides: {took:.2f} s; of {number - before} more {added:.2f} s for {work:.2f} s of work, "
                f"overhead {added / work - 1:.1%}, {1000 * (added - work) / (number - before):.1f} ms a slide",
                flush=True,
            )
            before, before_s = number, took


if __name__ == "__main__":
    main()
