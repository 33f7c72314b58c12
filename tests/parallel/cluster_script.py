"""A real Ray cluster of two workers, in a process of its own: what was done and found, as JSON on the last line.

Ray leaves files and processes to the garbage collector, which the test process takes for an error.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from mitosieve.errors import MitosieveError, SlideError, StorageError
from mitosieve.parallel import ClusterConfig, Task, run_tasks

STORE = 100 * 2**20
PATIENCE_S = 150


def square(given: tuple[int, str]) -> int:
    """3 is a bad slide; others leave a file and give their square."""
    number, folder = given
    if number == 3:
        raise SlideError("cannot be read", where=f"slide {number}", remedy="copy it again")
    (Path(folder) / f"{number}.txt").write_text(str(number))
    return number**2


def kills_itself_once(given: tuple[int, str]) -> int:
    """The first try of number 1 ends its process as kill -9 would."""
    number, folder = given
    mark = Path(folder) / f"tried-{number}"
    if number == 1 and not mark.exists():
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def always_dies(given: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return given


def full_disk(given: int) -> int:
    raise StorageError("the disk is full", where="out", remedy="free some space")


def tasks(numbers, folder):
    return [Task(name=f"slide {i}", given=(i, str(folder))) for i in numbers]


def shown(outcomes):
    return [[item.value, str(item.error or ""), item.tries] for item in outcomes]


def in_order(address, folder):
    told = []
    config = ClusterConfig(address=address)
    found = run_tasks(
        square, tasks(range(6), folder), config=config, shared=folder, progress=lambda *seen: told.append(seen[:2])
    )
    return {"found": shown(found), "told": told, "files": sorted(p.name for p in folder.glob("*.txt"))}


def deaths(address, folder):
    config = ClusterConfig(address=address, retries=1)
    found = shown(run_tasks(kills_itself_once, tasks(range(3), folder), config=config, shared=folder))
    dead = shown(run_tasks(always_dies, [Task(name="bad one", given=1)], config=config, shared=folder))
    try:
        run_tasks(full_disk, [Task(name="one", given=1)], config=config, shared=folder)
        full = ""
    except MitosieveError as error:
        full = f"{type(error).__name__}: {error}"
    return {"found": found, "dead": dead, "full": full}


def scan_with_a_kill(cluster, victim, out, words):
    """detect --cluster; as soon as a slide is done, one of the two workers is gone, and a new one comes later."""
    command = [sys.executable, "-m", "mitosieve.cli", "detect", *words, "--out", str(out), "--cluster", cluster.address]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + PATIENCE_S
    while not list((out / "parts").glob("*.csv")) and job.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    early = job.poll() is None
    cluster.remove_node(victim, allow_graceful=False)
    said = job.communicate(timeout=PATIENCE_S)
    return {"code": job.returncode, "said": said, "killed_midway": early}


def search(address, words):
    """train --cluster: every training of a search is a task."""
    command = [sys.executable, "-m", "mitosieve.cli", *words, "--cluster", address]
    job = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    return {"code": job.returncode, "said": job.stderr}


def main(folder, search_words, words):
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": STORE})
    workers = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(2)]
    cluster.wait_for_nodes()
    try:
        for name in ("order", "deaths"):
            (folder / name).mkdir()
        found = {"order": in_order(cluster.address, folder / "order")}
        found["deaths"] = deaths(cluster.address, folder / "deaths")
        found["search"] = search(cluster.address, search_words)
        found["scan"] = scan_with_a_kill(cluster, workers[1], folder / "scan", words)
    finally:
        cluster.shutdown()
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    end = sys.argv.index("then")
    main(Path(sys.argv[1]), sys.argv[2:end], sys.argv[end + 1 :])
