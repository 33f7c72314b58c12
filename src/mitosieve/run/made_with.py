"""What computes the numbers of a run: versions of the packages, and the commit of this one."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

_RECORDED = (
    "mitosieve",
    "torch",
    "numpy",
    "numba",
    "opencv-python-headless",
    "scipy",
    "pandas",
    "pillow",
    "tifffile",
    "imagecodecs",
    "onnxruntime",
)


def made_with() -> dict[str, str | dict[str, str]]:
    """The content of versions.json."""
    return {"versions": versions(), "commit": git_commit()}


def versions() -> dict[str, str]:
    """Versions of what computes the numbers; 'absent' for what is not installed."""
    found: dict[str, str] = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def git_commit() -> str:
    """Commit of the package's checkout with `+changes` where it is dirty; 'none' outside a checkout of its own.

    A package that was installed somewhere inside another repository is not that one's: git must know this very file.
    """
    here = Path(__file__).resolve()

    def git(*words: str) -> str:
        command = ["git", "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", here.name)
        commit, dirty = git("rev-parse", "--short=12", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return commit + ("+changes" if dirty else "")
