"""Laws of the look at a machine."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from mitosieve.cli import doctor
from mitosieve.cli.doctor import examine, numbers


def by_name(findings):
    return {finding.name: finding for finding in findings}


def test_a_working_machine_has_no_failure(tmp_path):
    """Where the tests run, nothing fails, and each finding has its name once and says something."""
    findings = examine(tmp_path)
    assert [f for f in findings if f.status == "fail"] == []
    assert len(by_name(findings)) == len(findings)
    assert all(finding.detail for finding in findings)
    assert all(finding.remedy for finding in findings if finding.status != "ok")
    assert {"python", "numpy", "torch", "GPU", "read JPEG", "read TIFF", "compile (numba)"} <= set(by_name(findings))
    assert list(tmp_path.iterdir()) == []


def test_import_is_cheap():
    """Importing the module loads neither torch nor an image library."""
    code = "import sys, mitosieve.cli.doctor; print(sorted({'torch', 'cv2', 'numba', 'tifffile'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_missing_and_old_libraries_are_named(monkeypatch, tmp_path):
    """A library that is absent, or older than needed, fails with the command that installs it."""
    versions = {"numpy": "1.9.3", "numba": None}
    real = metadata.version

    def version(name):
        if versions.get(name, "") is None:
            raise metadata.PackageNotFoundError(name)
        return versions.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    found = by_name(examine(tmp_path))
    assert (found["numpy"].status, found["numba"].status) == ("fail", "fail")
    assert "1.9.3" in found["numpy"].detail
    assert "absent" in found["numba"].detail
    assert "pip install 'numba>=" in found["numba"].remedy


def test_a_broken_library_is_a_finding(monkeypatch, tmp_path):
    """A library that cannot be imported is told, and the rest is still examined."""
    real = doctor.import_module

    def load(name):
        if name == "tifffile":
            raise ImportError("libjpeg.so.8: cannot open shared object file")
        return real(name)

    monkeypatch.setattr(doctor, "import_module", load)
    found = by_name(examine(tmp_path))
    assert found["read TIFF"].status == "fail"
    assert "libjpeg" in found["read TIFF"].detail
    assert found["read JPEG"].status == "ok"


@pytest.mark.parametrize(("free", "status"), [(100e9, "ok"), (2e9, "warn"), (0.1e9, "fail")])
def test_disk_space_is_judged(monkeypatch, tmp_path, free, status):
    """Plenty is well, little is a warning, next to none a failure; a folder yet to be made is judged by its parent."""
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=free))
    assert examine(tmp_path / "new" / "run")[-1].status == status


@pytest.mark.parametrize(
    ("low", "high"), [("1.9.3", "1.26"), ("2.4", "2.13.0+cpu"), ("0.60", "0.61rc1"), ("2024.2", "2024.10.3"), ("", "1")]
)
def test_versions_compare_by_number(low, high):
    """Versions compare as numbers, not as text; trailing zeros and local parts do not count."""
    assert numbers(low) < numbers(high)
    assert numbers("2.13.0+cpu") == numbers("2.13")
