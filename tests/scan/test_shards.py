"""Parts of a job: shards partition the slides, run beside one another, and together leave what one job leaves."""

import csv
import fcntl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import InputError
from mitosieve.scan.paths import paths_of
from mitosieve.scan.shard import of_shard, parse_shard
from tiny import ONE_CORE, a_run, files_of, images, mitosieve


@given(st.lists(st.integers(), max_size=30), st.integers(1, 8))
def test_shards_partition_the_items(items, n):
    """Every item is in exactly one shard, and shards differ by at most one in size."""
    parts = [of_shard(items, (i, n)) for i in range(1, n + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert of_shard(items, None) == items


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1/0", "1-4", "1/4/2", "-1/4", ""])
def test_what_is_no_shard(text):
    """Refused with an example."""
    with pytest.raises(InputError, match="1/4"):
        parse_shard(text)
    assert parse_shard(" 2/4 ") == (2, 4)


def job(out, *more):
    return mitosieve(
        "detect",
        "--detector",
        a_run(),
        *images()[:3],
        "--mpp",
        0.25,
        "--out",
        out,
        "--threshold",
        0.2,
        *ONE_CORE,
        *more,
    )


def test_shards_and_collecting_leave_what_one_job_leaves(tmp_path):
    """Two shards into one folder, then --resume: the same files, byte for byte, as without shards."""
    assert job(tmp_path / "one").code == 0
    for i in (2, 1):
        told = job(tmp_path / "both", "--shard", f"{i}/2")
        assert told.code == 0, told.err
        assert told.result.exists()
        rows = list(csv.DictReader(told.result.read_text().splitlines()))
        assert [row["slide_id"] for row in rows] == [path.stem for path in images()[i - 1 : 3 : 2]]
    assert not (tmp_path / "both" / "detections.csv").exists()
    assert job(tmp_path / "both", "--resume").code == 0
    both = {name: content for name, content in files_of(tmp_path / "both").items() if not name.startswith("shards/")}
    both = {name: content for name, content in both.items() if ".lock-" not in name}
    assert both == files_of(tmp_path / "one")


def test_a_shard_of_another_job_is_refused(tmp_path):
    """Shards of jobs that differ cannot share a folder."""
    assert job(tmp_path / "d", "--shard", "1/2").code == 0
    told = mitosieve(
        "detect",
        "--detector",
        a_run(),
        images()[0],
        "--mpp",
        0.25,
        "--out",
        tmp_path / "d",
        "--shard",
        "2/2",
        *ONE_CORE,
    )
    assert told.code == 2
    assert "another" in told.err


def test_the_whole_waits_for_its_parts(tmp_path):
    """Collecting while a shard runs is refused; two different shards may run at once."""
    assert job(tmp_path / "d", "--shard", "1/2").code == 0
    with (tmp_path / "d" / ".lock-1-of-2").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        told = job(tmp_path / "d", "--resume")
        assert (told.code, "in use" in told.err) == (2, True)
        assert job(tmp_path / "d", "--shard", "2/2").code == 0


def test_which_slides_are_meant(tmp_path):
    """Folders, patterns, lists and files; each slide once, in the order of the words."""
    for name in ("b.png", "a.svs", "notes.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "d.mrxs").mkdir()
    (tmp_path / "list.txt").write_text("# mine\nb.png\n\na.svs\n")
    a, b = tmp_path / "a.svs", tmp_path / "b.png"
    assert paths_of([tmp_path]) == [a, b]
    assert paths_of([b, tmp_path]) == [b, a]
    assert paths_of([f"{tmp_path}/*.png"]) == [b]
    assert paths_of([f"@{tmp_path}/list.txt"]) == [b, a]
    assert paths_of([tmp_path / "notes.txt"]) == [tmp_path / "notes.txt"]
    assert paths_of([tmp_path / "gone.svs"]) == [tmp_path / "gone.svs"]
    with pytest.raises(InputError, match="nothing matches"):
        paths_of([f"{tmp_path}/*.ndpi"])
    with pytest.raises(InputError, match="list of slides"):
        paths_of([f"@{tmp_path}/gone.txt"])
