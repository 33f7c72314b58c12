"""The way to a Ray cluster: one that runs already, or one of this machine's own that lives as long as the job.

Ray is imported when it is used, not before: it takes a second.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mitosieve.errors import ClusterError, InputError

OBJECT_STORE_BYTES = 100 * 2**20
"""Shared memory of a cluster started here. Tasks and results are small, so the least that Ray takes is plenty."""

_SILENCE = "RAY_DEDUP_LOGS_SKIP_REGEX"
"""Lines of Ray's own that it leaves out, read when it is imported. It would tell of dead workers on stdout."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Which cluster, and what a task takes of it.

    Attributes:
        address: "auto" or HOST:PORT.
        num_cpus: cores a task takes; a machine runs as many tasks at once as it has room for.
        num_gpus: GPUs a task takes; a share such as 0.5 lets two tasks use one.
        retries: how often a task whose worker died is tried again.
        patience_s: longest wait for the cluster to answer, and for a machine with room for a task.
    """

    address: str = "auto"
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    retries: int = 3
    patience_s: float = 60.0

    def __post_init__(self) -> None:
        if self.num_cpus < 0 or self.num_gpus < 0 or self.retries < 0 or self.patience_s <= 0:
            raise InputError("a task takes no negative share of a cluster", remedy="use 0 or more CPUs, GPUs, retries")
        if self.address != "auto":
            _host_and_port(self.address)

    @classmethod
    def of_task(cls, address: str, *, device: str, threads: int, readers: int = 0) -> "ClusterConfig":
        """What a training or a slide takes: on a CPU a core for each thread and reader that was asked for, and at least
        one; on a GPU the whole of it and a core, which its readers share with those of other tasks.

        Args:
            address: "auto" or HOST:PORT.
            device: of `Compute`.
            threads: that were asked for; 0 is no wish.
            readers: processes that read for the task; a negative number is no wish.
        """
        if device == "cuda":
            return cls(address=address, num_cpus=1.0, num_gpus=1.0)
        return cls(address=address, num_cpus=float(max(1, threads) + max(0, readers)))


@contextmanager
def connection(config: ClusterConfig) -> Generator[ModuleType]:
    """Ray, connected; what was started or connected here is left again at the end.

    A connection that this process has already is used and kept.

    Raises:
        ClusterError: Ray is not installed, or the cluster cannot be reached within `config.patience_s`.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        address = _address_of(config)
        if address is None:
            # Its own folder, so that no job takes this cluster for a lasting one; short, as sockets' names must be.
            with tempfile.TemporaryDirectory(prefix="mitosieve-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
                _init(ray, address="local", object_store_memory=OBJECT_STORE_BYTES, _temp_dir=folder)
                try:
                    yield ray
                finally:
                    ray.shutdown()
        else:
            _init(ray, address=address)
            yield ray
    finally:
        ray.shutdown()
        _restore(handler)


def _restore(handler: Any) -> None:  # noqa: ANN401 - whatever `signal` gave
    """Ray puts its own handler of SIGTERM in the way and leaves it there."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def _import_ray() -> ModuleType:
    before = os.environ.get(_SILENCE)
    os.environ[_SILENCE] = ".*"
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "Ray, which runs clusters, is not installed", remedy="pip install 'mitosieve[cluster]'"
        ) from error
    finally:
        os.environ.pop(_SILENCE)
        if before is not None:
            os.environ[_SILENCE] = before
    return ray


def _init(ray: ModuleType, **more: Any) -> None:  # noqa: ANN401 - Ray's own options
    try:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR", **more)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(
            f"the cluster cannot be used ({' '.join(str(error).split())[:300]})",
            where=more["address"],
            remedy="run on one of its machines, with the same versions of Python and Ray",
        ) from error


def _address_of(config: ClusterConfig) -> str | None:
    """HOST:PORT of a cluster that answers, or None to start one on this machine."""
    if config.address != "auto":
        return _answering(config.address, config.patience_s)
    stated = os.environ.get("RAY_ADDRESS", "")
    if stated not in ("", "auto", "local"):
        return _answering(stated, config.patience_s)
    started = Path(os.environ.get("RAY_TMPDIR", "/tmp"), "ray", "ray_current_cluster")
    if stated == "local" or not started.is_file():
        return None
    try:
        return _answering(started.read_text().strip(), config.patience_s)
    except (ClusterError, InputError):
        return None  # the file outlives its cluster


def _answering(address: str, within_s: float) -> str:
    """The address, after a cluster answered there. Ray itself would wait for minutes, and then end this process.

    Raises:
        ClusterError: nothing there, or no cluster.
    """
    host, port = _host_and_port(address)
    remedy = "check HOST:PORT and that `ray start` runs there, or use --cluster auto"
    try:
        socket.create_connection((host, port), timeout=within_s).close()
    except OSError as error:
        raise ClusterError(f"no cluster answers ({error.strerror or error})", where=address, remedy=remedy) from error
    asking = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        said = subprocess.run(asking, capture_output=True, text=True, timeout=within_s, check=False)
    except subprocess.TimeoutExpired as error:
        what = f"something listens there, but no cluster answers within {within_s:g} s"
        raise ClusterError(what, where=address, remedy=remedy) from error
    if said.returncode != 0:
        why = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ClusterError(f"the cluster there cannot be used ({why[:300]})", where=address, remedy=remedy)
    return address


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdecimal() and 0 < int(port) < 2**16:
        return host, int(port)
    remedy = "use auto or HOST:PORT"
    if address.startswith("ray://"):
        remedy = "run the command on a machine of the cluster (ssh, ray job submit) with --cluster auto"
    raise InputError(f"'{address}' is no address of a cluster", remedy=remedy)
