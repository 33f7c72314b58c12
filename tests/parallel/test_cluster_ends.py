"""Clusters that are not there, machines that are not fit, and jobs that are cut off."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mitosieve import __version__
from mitosieve.errors import ClusterError, SlideError
from mitosieve.parallel import ClusterConfig, Task, connection, run_tasks
from mitosieve.parallel.worker import Mark, check_worker, in_worker, mark_in

PATIENCE_S = 120


def sleeps(folder: Path) -> None:
    """Says which process it is, starts a child as reader processes are, and would go on for long."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    (folder / f"{os.getpid()}.pid").write_text(str(child.pid))
    time.sleep(600)


def cut_off(folder: str) -> None:
    """The main program of a process that is interrupted."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would not hear it
    tasks = [Task(name=str(i), given=Path(folder)) for i in range(3)]
    run_tasks(sleeps, tasks, config=ClusterConfig(), shared=Path(folder))


def processes(folder: Path) -> set[int]:
    return {int(pid) for p in folder.glob("*.pid") for pid in (p.stem, p.read_text() or 0)} - {0}


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_running(tmp_path):
    """`auto` starts a cluster of this machine; interrupted, neither it nor its tasks nor their children remain."""
    words = [sys.executable, "-c", f"import test_cluster_ends as t; t.cut_off({str(tmp_path)!r})"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "RAY_ADDRESS": "local", "OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True
    )
    until = time.monotonic() + PATIENCE_S
    while not processes(tmp_path) and job.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    started = {child.pid for child in psutil.Process(job.pid).children(recursive=True)} | processes(tmp_path)
    assert len(started) > 3
    os.killpg(job.pid, signal.SIGINT)
    out, err = job.communicate(timeout=PATIENCE_S)
    assert out == ""
    assert "KeyboardInterrupt" in err
    while any(map(psutil.pid_exists, started)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in started if psutil.pid_exists(pid)]
    assert not list(tmp_path.glob(".cluster-*"))


@pytest.mark.slow
def test_a_listener_that_is_no_cluster(tmp_path):
    """Given up within the patience, instead of Ray's minutes."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with (
            pytest.raises(ClusterError, match="no cluster answers within 2 s"),
            connection(ClusterConfig(address=address, patience_s=2)),
        ):
            pass


def test_ray_is_not_installed(monkeypatch):
    """The message names the extra to install; Ray's own environment is as it was."""
    monkeypatch.setitem(sys.modules, "ray", None)
    before = dict(os.environ)
    with pytest.raises(ClusterError) as refusal, connection(ClusterConfig()):
        pass
    assert "mitosieve[cluster]" in str(refusal.value)
    assert dict(os.environ) == before


def test_the_command_line_does_not_load_ray():
    """Help answers at once."""
    words = "import sys, mitosieve.cli, mitosieve.parallel; assert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)


def test_a_machine_that_is_not_fit(tmp_path, monkeypatch):
    """Another version, a folder or file that it does not see: each said with the machine's name and the place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mitosieve.parallel.worker._SEEN_WITHIN_S", 0.2)
    with mark_in(tmp_path) as mark:
        check_worker(mark, [tmp_path, Path()])
        assert in_worker(len, "four", [], mark).value == 4
        missing = in_worker(len, "four", [Path("gone.svs")], mark)
        assert str(tmp_path / "gone.svs") in str(missing.unfit)
        other = Mark(folder=mark.folder, file=mark.file, version="0.0.0")
        assert "0.0.0" in str(in_worker(len, "four", [], other).unfit)
        assert __version__ in str(in_worker(len, "four", [], other).unfit)
    elsewhere = Mark(folder=tmp_path, file=tmp_path / "disk" / "mark", version=__version__)
    unfit = in_worker(len, "four", [], elsewhere).unfit
    assert str(tmp_path / "disk") in str(unfit)
    assert socket.gethostname() in str(unfit)
    assert not list(tmp_path.iterdir())


def bad_slide(given: int) -> int:
    raise SlideError("cannot be read", where=f"slide {given}")


def test_a_failure_is_an_answer(tmp_path):
    """An error of the package comes back as such; any other is raised."""
    with mark_in(tmp_path) as mark:
        assert isinstance(in_worker(bad_slide, 3, [], mark).error, SlideError)
        with pytest.raises(ZeroDivisionError):
            in_worker(lambda given: 1 // given, 0, [], mark)
