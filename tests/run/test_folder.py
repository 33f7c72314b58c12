"""Laws of files that exist only when whole, and of a run's folder."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mitosieve.errors import RunFolderError, StorageError
from mitosieve.run.folder import RUN_FORMAT, RunFolder, RunMark, hash_file, kind_of, write_atomic, write_json
from mitosieve.run.layout import Kind

HOLD_LOCK = """
import sys
from pathlib import Path
from mitosieve.run.folder import RunFolder
with RunFolder(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""

RUN_OUT_OF_SPACE = """
import resource, sys
from pathlib import Path
from mitosieve.errors import StorageError
from mitosieve.run.folder import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path(sys.argv[1]), b"x" * 100_000)
except StorageError as error:
    sys.stdout.write(str(error))
"""


def fill_the_disk(file):
    """Let the open file be a device that is always full: the kernel itself says so."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, file.fileno())
    os.close(full)
    file.write(b"some bytes")


def break_down(file):
    file.write(b"half of it")
    raise ValueError("the writer broke")


@pytest.mark.parametrize("before", [None, b"old and whole"])
@pytest.mark.parametrize(("writer", "told"), [(break_down, ValueError), (fill_the_disk, StorageError)])
def test_a_write_that_fails_leaves_what_was_there(tmp_path, before, writer, told):
    """After a failure the folder holds the old file or none, and no scraps."""
    path = tmp_path / "deep" / "file.bin"
    if before is not None:
        write_atomic(path, before)
    with pytest.raises(told):
        write_atomic(path, writer)
    assert [item.read_bytes() for item in path.parent.iterdir()] == ([] if before is None else [before])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full: nothing to be full")
def test_a_full_disk_is_called_so(tmp_path):
    """The message names the file, the fault and the remedy."""
    with pytest.raises(StorageError, match="disk is full") as told:
        write_atomic(tmp_path / "file.bin", fill_the_disk)
    assert str(tmp_path / "file.bin") in str(told.value)
    assert "free some space" in str(told.value)


def test_a_limit_on_file_size_is_a_storage_error(tmp_path):
    """A real process that may not write so much is told so and leaves nothing."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN_OUT_OF_SPACE, str(tmp_path / "file.bin")], capture_output=True, text=True, check=True
    )
    assert "cannot be written" in ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_content_in_every_form(tmp_path):
    """Bytes, text (as UTF-8) and a writing function give the bytes meant, with the permissions of any new file."""
    assert write_atomic(tmp_path / "a", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_atomic(tmp_path / "b", "µm²").read_bytes() == "µm²".encode()
    array = np.arange(5)
    assert (np.load(write_atomic(tmp_path / "c.npy", lambda file: np.save(file, array))) == array).all()
    (tmp_path / "plain").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_folder_in_place_of_a_folder_name(tmp_path):
    """A file where a folder is needed is a storage error, not a trace."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "inner", b"")


def test_equal_content_is_equal_bytes(tmp_path):
    """JSON does not depend on the order of keys, and refuses what JSON cannot say."""
    one = write_json(tmp_path / "one", {"a": 1, "b": [2]})
    two = write_json(tmp_path / "two", {"b": [2], "a": 1})
    assert hash_file(one) == hash_file(two)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "three", {"a": float("nan")})
    assert not (tmp_path / "three").exists()


def test_a_run_is_made_once_and_resumed_by_its_like(tmp_path):
    """The same provenance may go on if asked to; without --resume, or with another provenance, it is refused."""
    path = tmp_path / "run"
    RunFolder.create(path, {"recipe": "a", "split": (1, 2)}, kind=Kind.TRAIN, resume=False)
    with pytest.raises(RunFolderError, match="holds a run already"):
        RunFolder.create(path, {"recipe": "a", "split": (1, 2)}, kind=Kind.TRAIN, resume=False)
    again = RunFolder.create(path, {"recipe": "a", "split": (1, 2)}, kind=Kind.TRAIN, resume=True)
    assert again.read_mark() == RunMark(kind=Kind.TRAIN, provenance={"recipe": "a", "split": [1, 2]})
    with pytest.raises(RunFolderError, match="another data, recipe"):
        RunFolder.create(path, {"recipe": "b", "split": (1, 2), "data": "c"}, kind=Kind.TRAIN, resume=True)


def test_what_fixes_a_run_and_what_does_not(tmp_path):
    """Versions and commit stand beside the provenance: upgrading a library does not forbid a resume."""
    run = RunFolder.create(tmp_path / "run", {"seed": 1}, kind=Kind.TRAIN, resume=True)
    assert set(json.loads((run / "versions.json").read_text())) == {"versions", "commit"}
    mark = {"format": RUN_FORMAT, "kind": "train", "provenance": {"seed": 1}}
    assert json.loads((run / "run.json").read_text()) == mark


def test_a_run_says_what_it_is_of(tmp_path):
    """A folder of one kind is not taken for another; one that is no run has no kind."""
    path = RunFolder.create(tmp_path / "run", {}, kind=Kind.DETECT, resume=False).path
    assert kind_of(path) is Kind.DETECT
    assert kind_of(tmp_path) is None
    with pytest.raises(RunFolderError, match="was made by detect, not by train"):
        RunFolder.create(path, {}, kind=Kind.TRAIN, resume=True)


def test_a_run_may_be_made_around_runs(tmp_path):
    """Only on a resume, and only around those that are named."""
    (tmp_path / "A").mkdir()
    for resume, parts in ((False, ("A",)), (True, ()), (True, ("B",))):
        with pytest.raises(RunFolderError, match="not empty"):
            RunFolder.create(tmp_path, {}, kind=Kind.CROSSVAL, resume=resume, parts=parts)
    RunFolder.create(tmp_path, {}, kind=Kind.CROSSVAL, resume=True, parts=("A", "B"))


def test_runs_of_before_kinds_are_refused(tmp_path):
    """What, where, and what to do: the detector inside is still good."""
    write_json(tmp_path / "run.json", {"format": 1, "provenance": {}})
    with pytest.raises(RunFolderError, match="is a run of format 1; this version reads format 2") as told:
        RunFolder(tmp_path).read_mark()
    assert str(tmp_path) in str(told.value)
    assert "RUN/detector" in str(told.value)


def test_runs_of_another_version_are_refused(tmp_path):
    """The format is checked before anything is read."""
    write_json(tmp_path / "run.json", {"format": RUN_FORMAT + 1, "provenance": {}})
    with pytest.raises(RunFolderError, match=f"format {RUN_FORMAT + 1}"):
        RunFolder(tmp_path).read_mark()
    with pytest.raises(RunFolderError, match=f"format {RUN_FORMAT + 1}"):
        RunFolder.create(tmp_path, {}, kind=Kind.TRAIN, resume=True)


def test_folders_that_are_no_runs_are_refused(tmp_path):
    """Neither a stranger's folder nor a broken run.json is written into."""
    with pytest.raises(RunFolderError, match="not a run folder"):
        RunFolder(tmp_path).read_mark()
    (tmp_path / "thesis.doc").write_text("")
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path, {}, kind=Kind.TRAIN, resume=True)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunFolderError, match="cannot be read"):
        RunFolder.create(tmp_path, {}, kind=Kind.TRAIN, resume=True)


def test_one_process_at_a_time(tmp_path):
    """While a process holds the folder another is refused; when it is killed, the folder is free at once."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunFolderError, match="in use by another process"), RunFolder(tmp_path).lock():
            pass
        holder.kill()
        holder.wait()
        RunFolder.create(tmp_path, {}, kind=Kind.TRAIN, resume=False)
        with RunFolder(tmp_path).lock():
            assert (tmp_path / "run.json").exists()


def test_another_run_inside_is_not_swept(tmp_path):
    """What a killed process was writing goes; what a run inside is writing, or has just begun to, stays."""
    left = [tmp_path / ".a.part", tmp_path / "places" / ".b.part"]
    held = [tmp_path / "A" / ".c.part", tmp_path / "A" / "test" / ".d.part", tmp_path / "B" / ".e.part"]
    for path in (*left, *held, tmp_path / "A" / "run.json", tmp_path / "B" / ".lock"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    with RunFolder(tmp_path).lock():
        assert not any(path.exists() for path in left)
        assert all(path.exists() for path in held)


def test_a_mark_that_cannot_be_read_is_named(tmp_path):
    """A folder in the place of run.json, as a bad copy may leave it."""
    (tmp_path / "run.json").mkdir()
    with pytest.raises(RunFolderError, match="cannot be read"):
        kind_of(tmp_path)


def test_runs_of_before_inside_are_named_rather_than_the_folder(tmp_path):
    """A cross-validation of before had no run.json of its own: that its folds are of format 1 is what to say."""
    (tmp_path / "A").mkdir()
    (tmp_path / "detections.csv").write_text("")
    write_json(tmp_path / "A" / "run.json", {"format": 1, "provenance": {}})
    with pytest.raises(RunFolderError, match="is a run of format 1"):
        RunFolder.create(tmp_path, {}, kind=Kind.CROSSVAL, resume=True, parts=("A",))


def test_what_a_run_goes_on_with_stands_after_what_it_began_with(tmp_path):
    """Each once, in the order in which they came; of a run that is over no byte changes."""
    run, path = RunFolder(tmp_path), tmp_path / "machine.json"
    one, two, three = ({"processor": name, "cores": 2} for name in ("p", "q", "r"))
    assert run.keep_later("machine.json", one, is_over=False) is None
    write_json(path, {**one, "worker_threads": 1})  # which others add
    assert [run.keep_later("machine.json", now, is_over=False) for now in (two, one, two, three)] == [
        one, None, None, one,
    ]  # fmt: skip
    assert json.loads(path.read_text()) == {**one, "worker_threads": 1, "then": [two, three]}
    before = path.read_bytes()
    assert run.keep_later("machine.json", {"processor": "s", "cores": 2}, is_over=True) is None
    assert path.read_bytes() == before
