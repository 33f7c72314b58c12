"""Trainings side by side: results in order, the first error ends all, a killed process is told of, nothing is left."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from mitosieve.errors import SlideError, TrainingError
from mitosieve.parallel.processes import ProcessMap, WithThreads


def squared(number: int) -> tuple[int, int]:
    """The later ones are done first."""
    time.sleep(0.2 * max(0, 3 - number) / 3)
    return number**2, os.getpid()


def failing(path: Path) -> None:
    """One fails, the other would go on for ever."""
    if path.name == "bad":
        raise SlideError("cannot be read", where=path, remedy="fetch it again")
    time.sleep(600)


def killed(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def threads(wanted: int) -> int:
    return torch.get_num_threads()


def visible(number: int) -> str:
    time.sleep(0.3)
    return os.environ.get("CUDA_VISIBLE_DEVICES", "")


def children() -> list[psutil.Process]:
    """Worker processes of this one that still run; one that has ended and not been waited for does not."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found


def test_results_in_the_order_of_the_tasks():
    """Whoever is done first, and none of it in this process; progress ends with all."""
    told = []
    with ProcessMap(workers=2, threads=1, progress=lambda *words: told.append(words)) as mapper:
        made = mapper(squared, [0, 1, 2, 3])
        assert [square for square, _ in made] == [0, 1, 4, 9]
        assert os.getpid() not in {pid for _, pid in made}
        assert told[-1] == ("trainings", 4, 4)
        assert mapper(squared, []) == []
        again = mapper(squared, [4, 5])
        assert {pid for _, pid in again} <= {pid for _, pid in made}, "processes serve all calls"
    assert gone()


def gone():
    """Whether all worker processes end within ten seconds."""
    until = time.monotonic() + 10
    while children() and time.monotonic() < until:
        time.sleep(0.05)
    return children() == []


def test_the_first_error_ends_all():
    """It comes out as it was raised, place and remedy included, and no process goes on."""
    with pytest.raises(SlideError) as caught:
        ProcessMap(workers=2, threads=1)(failing, [Path("/x/good"), Path("/x/bad")])
    assert (caught.value.what, str(caught.value.where), caught.value.remedy) == (
        "cannot be read",
        "/x/bad",
        "fetch it again",
    )
    assert gone()


def test_a_killed_process_is_told_of():
    """Not a hang, not a traceback: one message with a way on."""
    with pytest.raises(TrainingError, match="killed"):
        ProcessMap(workers=1, threads=1)(killed, [Path("a")])


def computing(folder: Path) -> None:
    """Never done, and never asks for anything."""
    (folder / str(os.getpid())).touch()
    while True:
        sum(range(1000))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_one_that_started_it(tmp_path, how):
    """However the main one goes: a training for nobody would hold its run for hours."""
    words = "from test_processes import *; ProcessMap(workers=2, threads=1)(computing, [Path(sys.argv[1])] * 2)"
    main = subprocess.Popen([sys.executable, "-c", f"import sys; {words}", tmp_path], cwd=Path(__file__).parent)
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    main.send_signal(how)
    assert main.wait() == -how
    wait_until(lambda: not any(psutil.pid_exists(int(path.name)) for path in tmp_path.iterdir()))


def wait_until(told, seconds=60):
    end = time.monotonic() + seconds
    while not told():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("allotted", "dealt"),
    [(None, {"0", "1"}), ("", {"0", "1"}), ("5,7", {"5", "7"}), ("GPU-4f2a, GPU-99,", {"GPU-4f2a", "GPU-99"})],
)
def test_threads_and_gpus_are_dealt_out(monkeypatch, allotted, dealt):
    """Each process computes with the stated threads; each sees one GPU in turn, of those that were allotted."""
    if allotted is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allotted)
    with ProcessMap(workers=2, threads=2, gpus=2) as mapper:
        assert mapper(threads, [0]) == [2]
        assert set(mapper(visible, [0, 1, 2, 3])) == dealt
    before = torch.get_num_threads()
    try:
        assert WithThreads(threads, 1)(0) == 1
    finally:
        torch.set_num_threads(before)
