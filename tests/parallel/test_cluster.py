"""Jobs on a real local Ray cluster of two workers: results in order, failures as results, one worker killed midway."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mitosieve.cli.detecting import _on_cluster
from mitosieve.count.summary import SlideFailure
from mitosieve.errors import ClusterError, InputError, StorageError
from mitosieve.parallel import ClusterConfig, Task, run_tasks
from mitosieve.parallel.tasks import TaskResult
from mitosieve.run.words import Words
from mitosieve.scan import SlideResult
from searched import a_cohort, training
from tiny import ONE_CORE, a_run, files_of, images, mitosieve

FEW = ("search.labelled=[1.0]", "search.seeds=1", "ensemble.members=1")
"""Four trainings: each has a worker of its own to start, which is what takes the time."""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What `cluster_script.py` found, and its folder."""
    folder = tmp_path_factory.mktemp("cluster")
    cohort = a_cohort(folder / "cohort")
    searched = [*training(cohort, folder / "search", *FEW), "then"]
    words = ["--detector", a_run(), *images(), "--mpp", 0.25, "--threshold", 0.2, *ONE_CORE]
    script = Path(__file__).parent / "cluster_script.py"
    done = subprocess.run(
        [sys.executable, str(script), str(folder), *map(str, [*searched, *words])],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, (done.stdout[-2000:], done.stderr[-4000:])
    assert mitosieve("detect", *words, "--out", folder / "serial").code == 0
    assert mitosieve(*training(cohort, folder / "serial-search", *FEW)).code == 0
    return json.loads(done.stdout.splitlines()[-1]), folder


@pytest.mark.slow
@pytest.mark.long
def test_jobs_on_a_cluster(told):
    """One test, for two processes that share the tests would each start the cluster, which takes a minute."""
    results_come_in_the_order_of_the_tasks(told)
    a_worker_that_dies_is_replaced_but_not_for_ever(told)
    a_scan_with_one_worker_killed_leaves_what_a_serial_scan_leaves(told)
    a_search_on_a_cluster_leaves_what_a_serial_search_leaves(told)


def results_come_in_the_order_of_the_tasks(told):
    """Values in order, a failure as a result that names its slide, progress to the end; the files are there."""
    found = told[0]["order"]
    assert [value for value, _, _ in found["found"]] == [0, 1, 4, None, 16, 25]
    assert "slide 3: cannot be read" in found["found"][3][1]
    assert found["told"][-1] == [6, 6]
    assert found["files"] == [f"{i}.txt" for i in (0, 1, 2, 4, 5)]


def a_worker_that_dies_is_replaced_but_not_for_ever(told):
    """One death costs a try; a task that always kills its worker fails by name, and a full disk ends the job."""
    found = told[0]["deaths"]
    assert [(value, tries) for value, _, tries in found["found"]] == [(0, 1), (1, 2), (2, 1)]
    assert found["dead"][0][0] is None
    assert "bad one" in found["dead"][0][1]
    assert found["full"].startswith("StorageError: out: the disk is full")


def a_scan_with_one_worker_killed_leaves_what_a_serial_scan_leaves(told):
    """detect --cluster, a worker gone as soon as a slide is done: the same files, byte for byte."""
    scan, folder = told[0]["scan"], told[1]
    assert scan["code"] == 0, scan["said"]
    assert scan["killed_midway"]
    assert files_of(folder / "scan") == files_of(folder / "serial")


def a_search_on_a_cluster_leaves_what_a_serial_search_leaves(told):
    """train --cluster: every training a task on some machine; the same files, byte for byte."""
    found, folder = told[0]["search"], told[1]
    assert found["code"] == 0, found["said"]
    assert files_of(folder / "search") == files_of(folder / "serial-search")


def test_slides_that_were_kept_are_no_work_of_a_cluster_s_either(tmp_path):
    """Of 100 slides 90 were kept or failed and came back at once; one took a minute: nine minutes are left."""
    now_s = 0.0
    words = Words(clock=lambda: now_s)
    show = _on_cluster("auto", tmp_path, "swift", ("cpu", 1, 0), words.take)
    summary = SlideFailure(slide_id="a", error="")
    kept, done = SlideResult(summary=summary), SlideResult(summary=summary, seconds={"all": 60.0})
    words.take("slides", 0, 100)
    for number in range(1, 91):
        now_s += 0.003
        error = StorageError("no file") if number % 9 == 0 else None
        show.tell(number, 100, TaskResult(name="a", value=None if error else kept, error=error, tries=1))
    now_s += 60
    assert str(words) == "slide 91 of 100"
    show.tell(91, 100, TaskResult(name="a", value=done, error=None, tries=1))
    assert str(words).endswith("slide 92 of 100, about 9 min left")


@pytest.mark.parametrize("address", ["somewhere", "ray://host:1", "host:0", "host:99999", ""])
def test_what_is_no_address(address):
    """Refused before anything is started."""
    with pytest.raises(InputError, match="address"):
        ClusterConfig(address=address)


def test_a_cluster_that_does_not_answer(tmp_path):
    """Said at once, with the address."""
    config = ClusterConfig(address="127.0.0.1:9", patience_s=5)
    with pytest.raises(ClusterError, match=r"127\.0\.0\.1:9: no cluster answers"):
        run_tasks(str, [Task(name="one", given=1)], config=config, shared=tmp_path)
