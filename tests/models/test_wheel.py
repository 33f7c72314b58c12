"""A wheel, installed elsewhere, counts figures: the detectors travel in it, and nothing of the checkout is needed."""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from boxed import ROOT
from mitosieve.models.box import DEFAULT, LIMIT_BYTES, names
from tiny import images


def pip(*words):
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder that the wheel of this checkout was installed into, alone."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy2(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    there = subprocess.run([sys.executable, "-c", "import hatchling"], capture_output=True, check=False).returncode == 0
    built = pip("wheel", source, "--no-deps", "-w", folder, *(["--no-build-isolation"] if there else []))
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    done = pip("install", "--no-deps", "--target", folder / "site", wheel)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(source)
    return folder, wheel


CUT_OFF = """
import runpy, sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemExit(f"network used: {event} {args}")
sys.addaudithook(refuse)
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""A module as `python -m` runs it; any look-up of a name or opening of a connection ends the process."""


def run(folder, *words, module="mitosieve.cli"):
    """A command of the installed package, away from the checkout and without a network; the libraries are those of this
    environment, and that each is one that the wheel asks for is a law of tests/test_architecture.py.
    """
    return subprocess.run(
        [sys.executable, "-c", CUT_OFF, module, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_without_a_network_nobody_asks_one(installed):
    """What the other tests of this file run in is cut off: who looks a name up is ended."""
    folder, _ = installed
    (folder / "asks.py").write_text("import socket; socket.getaddrinfo('localhost', 80)")
    told = run(folder, module="asks")
    assert told.returncode == 1
    assert "network used: socket.getaddrinfo" in told.stderr


@pytest.mark.slow
def test_a_fresh_wheel_counts(installed):
    """`mitosieve models` and `mitosieve detect image` from it; what was imported lies in the wheel's own folder."""
    folder, wheel = installed
    shutil.copy2(images()[0], folder / "slide.jpg")
    listed = run(folder, "models", "--json")
    assert [row["name"] for row in json.loads(listed.stdout)] == list(names()), listed.stderr
    told = run(folder, "detect", "slide.jpg", "--mpp", 0.25, "--out", "found", "--threads", 1)
    assert told.returncode == 0, told.stderr
    assert json.loads((folder / "found" / "detect.json").read_text())["detector"] == DEFAULT
    assert (folder / "found" / "summary.csv").read_text().splitlines()[1].startswith("slide,")
    code = "import mitosieve; print(mitosieve.__file__)"
    where = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "site")},
    )
    assert where.stdout.startswith(str(folder / "site"))
    with zipfile.ZipFile(wheel) as content:
        held = [info for info in content.infolist() if info.filename.startswith("mitosieve/models/")]
        data = [info for info in held if not info.filename.endswith(".py")]
        assert 0 < sum(info.file_size for info in data) <= LIMIT_BYTES
        meta = next(name for name in content.namelist() if name.endswith("/METADATA"))
        assert "License-Expression: Apache-2.0 AND CC-BY-NC-4.0" in content.read(meta).decode()


@pytest.mark.slow
def test_an_installed_package_that_lost_its_data(installed):
    """One message, what and how to mend it; not a trace of Python's."""
    folder, _ = installed
    lost = folder / "lost"
    shutil.copytree(folder / "site", lost / "site")
    for name in names():
        shutil.rmtree(lost / "site" / "mitosieve" / "models" / name)
    told = run(lost, "models")
    assert told.returncode == 2
    assert "the package holds no detector" in told.stderr
    assert "Traceback" not in told.stderr
