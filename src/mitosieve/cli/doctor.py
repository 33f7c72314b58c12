"""What works on this machine, found by trying it. Knows nothing of cohorts or runs.

Libraries are imported inside the checks: a broken one must be a finding and not the end, and asking for help on the
command line must not load torch.
"""

import io
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Literal

Status = Literal["ok", "warn", "fail"]

LITTLE_DISK_GB = 5.0
"""Frames decoded for training take about 7.5 MB each, a run some hundred MB: below this, work may end early."""

NO_DISK_GB = 0.5

_FAULTS = (ImportError, OSError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError)
"""What a library that is missing, half-installed or built for another machine raises when it is used."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was tried.

    Attributes:
        name: what was tried, e.g. "read TIFF".
        status: ok; warn where work goes on with less; fail where it cannot.
        detail: what was found.
        remedy: what to do; empty where all is well.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(folder: Path | None = None) -> list[Finding]:
    """Try everything that the package needs; nothing is raised and nothing is left behind.

    Args:
        folder: where results are to be written; the current folder by default.

    Returns:
        Findings in a fixed order: python, libraries, devices, files, speed, disk.
    """
    folder = folder or Path.cwd()
    return [
        _python(),
        *_libraries(),
        _attempt("compute (torch)", _torch, "pip install torch"),
        _attempt("GPU", _gpu, "pip install torch"),
        _attempt("read JPEG", _jpeg, "pip install --force-reinstall opencv-python-headless"),
        _attempt("read TIFF", _tiff, "pip install --force-reinstall tifffile imagecodecs"),
        _attempt("read slides", _slides, "pip install --force-reinstall openslide-python openslide-bin wsidicom"),
        _attempt("score (ONNX Runtime)", _onnx, "pip install --force-reinstall onnxruntime, or use --engine torch"),
        _attempt("cluster (Ray)", _ray, "pip install 'mitosieve[cluster]'"),
        _attempt("compile (numba)", _numba, "pip install --force-reinstall numba"),
        _attempt(f"disk at {folder}", lambda: _disk(folder), "name another folder with --out"),
    ]


def _attempt(name: str, check: Callable[[], Finding], remedy: str) -> Finding:
    """What a check finds, or its fault as a finding."""
    try:
        return check()
    except _FAULTS as error:
        return Finding(name=name, status="fail", detail=f"{type(error).__name__}: {error}"[:300], remedy=remedy)


def _python() -> Finding:
    """Always well: an older Python could not have imported this."""
    found = f"{platform.python_version()} at {sys.executable}, {platform.system()} {platform.machine()}"
    return Finding(name="python", status="ok", detail=found)


def _libraries() -> list[Finding]:
    """Each library the package asks for, by the version in its metadata."""
    try:
        wanted = metadata.requires("mitosieve") or []
    except metadata.PackageNotFoundError:
        return [Finding(name="mitosieve", status="fail", detail="is not installed", remedy="pip install mitosieve")]
    package = Finding(name="mitosieve", status="ok", detail=metadata.version("mitosieve"))
    return [package, *(_library(item) for item in sorted(wanted) if "extra ==" not in item)]


def _library(requirement: str) -> Finding:
    """One requirement such as `numpy>=1.26`."""
    match = re.match(r"([A-Za-z0-9._-]+)[^>=]*(?:>=\s*([0-9.]+))?", requirement)
    name, least = (match[1], match[2] or "0") if match else (requirement, "0")
    remedy = f"pip install '{name}>={least}'"
    try:
        found = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name=name, status="fail", detail=f"is absent; {least} or later is needed", remedy=remedy)
    if numbers(found) < numbers(least):
        return Finding(name=name, status="fail", detail=f"{found}; {least} or later is needed", remedy=remedy)
    return Finding(name=name, status="ok", detail=f"{found} ({least} or later is needed)")


def numbers(version: str) -> tuple[int, ...]:
    """A version's leading numbers, for comparing: 2.13.0+cpu is (2, 13), as 2.13 is."""
    found = [int(part) for part in re.match(r"[0-9.]*", version)[0].split(".") if part]  # type: ignore[index] - always matches
    while found and found[-1] == 0:
        found.pop()
    return tuple(found)


def _cores() -> int:
    """Cores this process may use, which a container or scheduler may have cut."""
    allowed = getattr(os, "sched_getaffinity", None)  # absent on macOS
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _torch() -> Finding:
    torch = import_module("torch")
    product = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    threads, cores = int(torch.get_num_threads()), _cores()
    detail = f"{torch.__version__}, {threads} threads on {cores} cores"
    if product != 512.0:
        return Finding(
            name="compute (torch)", status="fail", detail=f"{detail}; multiplies wrongly", remedy="reinstall torch"
        )
    if threads > cores:
        return Finding(
            name="compute (torch)",
            status="warn",
            detail=f"{detail}: threads wait for each other",
            remedy=f"set OMP_NUM_THREADS={cores}",
        )
    return Finding(name="compute (torch)", status="ok", detail=detail)


def _gpu() -> Finding:
    torch = import_module("torch")
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        used = float(torch.ones(4, device="cuda").sum())
        detail = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB, {torch.cuda.device_count()} found"
        return Finding(name="GPU", status="ok" if used == 4 else "fail", detail=detail)
    if torch.backends.mps.is_available():
        return Finding(name="GPU", status="ok", detail="Apple (mps)")
    if shutil.which("nvidia-smi") is not None:
        return Finding(
            name="GPU",
            status="warn",
            detail="there is an NVIDIA driver, but torch cannot use it; the CPU is used",
            remedy="install a torch built for CUDA (pytorch.org), of a version that fits the driver",
        )
    return Finding(name="GPU", status="ok", detail="none; the CPU is used")


def _jpeg() -> Finding:
    """Write and read a small picture of one colour."""
    cv2, np = import_module("cv2"), import_module("numpy")
    picture = np.full((32, 32, 3), (180, 90, 200), dtype=np.uint8)
    back = cv2.imdecode(cv2.imencode(".jpg", picture)[1], cv2.IMREAD_COLOR)
    if back is None or np.abs(back.astype(int) - picture).max() > 8:
        raise ValueError("a JPEG was written and came back otherwise")
    return Finding(name="read JPEG", status="ok", detail=f"OpenCV {cv2.__version__}")


def _tiff() -> Finding:
    """Write and read a tiled picture in each compression that slides use."""
    tifffile, np = import_module("tifffile"), import_module("numpy")
    picture = np.full((64, 64, 3), (180, 90, 200), dtype=np.uint8)
    for compression in ("jpeg", "jpeg2000", "lzw", "deflate"):
        file = io.BytesIO()
        tifffile.imwrite(file, picture, photometric="rgb", tile=(32, 32), compression=compression)
        file.seek(0)
        if np.abs(tifffile.imread(file).astype(int) - picture).max() > 8:
            raise ValueError(f"a TIFF ({compression}) was written and came back otherwise")
    return Finding(name="read TIFF", status="ok", detail="JPEG, JPEG 2000, LZW, deflate")


def _slides() -> Finding:
    openslide, wsidicom = import_module("openslide"), metadata.version("wsidicom")
    import_module("wsidicom")
    return Finding(
        name="read slides", status="ok", detail=f"OpenSlide {openslide.__library_version__}, wsidicom {wsidicom}"
    )


def _onnx() -> Finding:
    """A network scored by both engines, which must agree."""
    import numpy as np

    from mitosieve.network.compute import Compute, predict
    from mitosieve.network.config import SwiftConfig
    from mitosieve.network.swift import SwiftNet

    network = SwiftNet(SwiftConfig(widths=(4, 4), head=4)).eval()
    images = np.random.default_rng(1).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    engines = (Compute(device="cpu", precision="32-true", engine=name) for name in ("torch", "onnxruntime"))
    first, second = (predict(network, iter([images]), compute) for compute in engines)
    apart = float(np.abs(first - second).max())
    detail = f"{metadata.version('onnxruntime')}, scores differ from torch by {apart:.0e}"
    return Finding(name="score (ONNX Runtime)", status="ok" if apart < 1e-3 else "fail", detail=detail)


def _ray() -> Finding:
    name = "cluster (Ray)"
    try:
        return Finding(name=name, status="ok", detail=metadata.version("ray"))
    except metadata.PackageNotFoundError:
        return Finding(name=name, status="ok", detail="not installed; --cluster needs pip install 'mitosieve[cluster]'")


def _numba() -> Finding:
    """Compile and run the stain transform."""
    stain, np = import_module("mitosieve.slide.stain"), import_module("numpy")
    answer = stain.apply_transform(np.full((4, 4, 3), 127, dtype=np.uint8), 2 * np.eye(3))
    if not (answer == 63).all():
        raise ValueError(f"compiled code gives {answer[0, 0]} for 63")
    return Finding(name="compile (numba)", status="ok", detail=f"numba {import_module('numba').__version__}")


def _disk(folder: Path) -> Finding:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free / 1e9
    name, detail = f"disk at {folder}", f"{free:.1f} GB free"
    if not os.access(existing, os.W_OK):
        return Finding(name=name, status="fail", detail="cannot be written", remedy="name another folder with --out")
    if free < LITTLE_DISK_GB:
        status: Status = "fail" if free < NO_DISK_GB else "warn"
        return Finding(name=name, status=status, detail=detail, remedy="free some space, or use another disk")
    return Finding(name=name, status="ok", detail=detail)
