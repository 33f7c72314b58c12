"""The file of decisions: added to, never rewritten, whole after any death."""

import logging
import os
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mitosieve.errors import FormatError, StorageError
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog, counting, readers_of, standing

WRITER = """
import sys
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog
from pathlib import Path
log = DecisionLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    made = log.append(Decision.now(kind="verdict", slide_id="s", reader=sys.argv[2], how="gallery",
                                   detection_id=str(number), x_px=1.0, y_px=2.0, verdict="figure"))
    print(made.id, flush=True)
"""


def a_verdict(key="d", reader="anna", verdict="figure"):
    return Decision.now(
        kind="verdict", slide_id="s", reader=reader, how="gallery", detection_id=key, x_px=1.0, y_px=2.0,
        verdict=verdict,
    )  # fmt: skip


def an_undo(of, reader=None):
    return Decision.now(kind="undo", slide_id="s", reader=reader or of.reader, how="gallery", undoes=of.id)


def a_writer(path, reader, count):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), reader, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_what_was_written_is_read_and_what_is_new_is_told(tmp_path):
    """Lines are read in the order of writing, and `since` gives each exactly once."""
    log = DecisionLog.beside(tmp_path)
    assert log.read() == []
    first = [log.append(a_verdict(str(n))) for n in range(3)]
    seen, offset = log.since(0)
    assert seen == first
    assert log.since(offset) == ([], offset)
    later = log.append(a_verdict("later"))
    assert log.since(offset) == ([later], log.path.stat().st_size)
    assert log.read() == [*first, later]


def test_two_writers_at_once_lose_nothing(tmp_path):
    """Two processes that write at once leave all lines of both, each in its own order."""
    path = tmp_path / "decisions.jsonl"
    writers = [a_writer(path, name, 150) for name in ("anna", "ben")]
    told = [writer.communicate()[0].split() for writer in writers]
    found = DecisionLog(path).read()
    assert len(found) == 300
    for name, ids in zip(("anna", "ben"), told, strict=True):
        assert [d.id for d in found if d.reader == name] == ids


def test_a_killed_writer_loses_nothing_that_it_was_told_is_written(tmp_path):
    """Whatever append has returned before kill -9 is in the file, and the next process goes on below it."""
    path = tmp_path / "decisions.jsonl"
    writer = a_writer(path, "anna", 100_000)
    told = [writer.stdout.readline().strip() for _ in range(40)]
    time.sleep(0.05)
    os.kill(writer.pid, signal.SIGKILL)
    told += writer.communicate()[0].split()
    log = DecisionLog(path)
    log.append(a_verdict("after"))
    found = log.read()
    assert [d.id for d in found[: len(told)]] == told
    assert found[-1].detection_id == "after"
    assert len(found) - 1 - len(told) in (0, 1)  # a line may have been whole before its writer could say so


@pytest.mark.parametrize("cut", [1, 2, 20, 60])
def test_a_torn_line_is_passed_over_and_told(tmp_path, caplog, cut):
    """A last line cut anywhere is passed over with a warning; later lines are read, and nothing is rewritten."""
    log = DecisionLog.beside(tmp_path)
    kept, torn = log.append(a_verdict("kept")), a_verdict("torn")
    part = torn.to_json().encode()[:-cut]
    with log.path.open("ab") as file:
        file.write(part)
    before = log.path.read_bytes()
    with caplog.at_level(logging.WARNING):
        seen, offset = log.since(0)
    assert seen == [kept]
    assert "line 2: is torn" in caplog.text
    after = log.append(a_verdict("after"))
    assert log.path.read_bytes().startswith(before)
    assert log.read() == [kept, after]
    assert log.since(offset)[0] == [after]


def test_a_line_that_lacks_only_its_end_counts(tmp_path):
    """A whole decision at the end of the file without a line end is a decision, and the next has a line of its own."""
    log = DecisionLog.beside(tmp_path)
    first = a_verdict("first")
    log.path.write_text(first.to_json())
    assert log.since(0) == ([first], log.path.stat().st_size)
    offset = log.since(0)[1]
    second = log.append(a_verdict("second"))
    assert log.read() == [first, second]
    assert log.since(offset)[0] == [second]


def test_a_long_torn_line_is_found(tmp_path):
    """A torn line longer than one look from the end is marked as one."""
    log = DecisionLog.beside(tmp_path)
    log.path.write_bytes(b'{"id":"' + b"x" * 200_000)
    after = log.append(a_verdict("after"))
    assert log.read() == [after]


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"id":"0"}', b"\xff\xfe{}"])
def test_a_bad_line_is_named(tmp_path, line):
    """A line that is no decision stops reading with its number."""
    log = DecisionLog.beside(tmp_path)
    log.append(a_verdict())
    with log.path.open("ab") as file:
        file.write((line if isinstance(line, bytes) else line.encode()) + b"\n")
    offset = log.path.stat().st_size
    log.append(a_verdict())
    with pytest.raises(FormatError, match="line 2"):
        log.read()
    assert len(log.since(offset)[0]) == 1


def test_a_file_that_was_cut_is_noticed(tmp_path):
    """A file shorter than what was read of it is refused: something rewrote it."""
    log = DecisionLog.beside(tmp_path)
    log.append(a_verdict())
    with pytest.raises(FormatError, match="shorter than it was"):
        log.since(10_000)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    """Writing into a missing folder is a storage error with its path."""
    with pytest.raises(StorageError, match="decisions"):
        DecisionLog.beside(tmp_path / "gone").append(a_verdict())


def test_the_latest_stands_and_an_undo_brings_back_what_stood():
    """The latest verdict of a cell stands; undone, the one before it does; an undo undone stands no more."""
    first, second = a_verdict("d", verdict="figure"), a_verdict("d", verdict="imposter")
    back = an_undo(second)
    again = an_undo(back)
    other = a_verdict("d", reader="ben", verdict="unsure")
    strange = an_undo(second, reader="ben")
    assert standing([first, second], "anna") == {"d": second}
    assert standing([first, second, other, back], "anna") == {"d": first}
    assert standing([first, second, back, again], "anna") == {"d": second}
    assert standing([first, second, strange], "anna") == {"d": second}
    assert standing([first, second, back, an_undo(first)], "anna") == {}
    assert standing([first, other], "ben") == {"d": other}
    assert readers_of([first, other, second]) == ("anna", "ben")


def test_an_added_cell_stands_by_its_own_id():
    """An added cell is known by the id of its decision; a later verdict on it stands for it."""
    added = Decision.now(
        kind="added", slide_id="s", reader="anna", how="slide", x_px=1.0, y_px=2.0, verdict="figure"
    )  # fmt: skip
    changed = a_verdict(added.id, verdict="imposter")
    assert standing([added], "anna") == {added.id: added}
    assert standing([added, changed], "anna") == {added.id: changed}
    assert standing([added, an_undo(added)], "anna") == {}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from(["anna", "ben"])), max_size=30))
def test_standing_is_what_replaying_backwards_says(script):
    """Any script of verdicts and undos of both readers leaves what a walk over all suffixes leaves."""
    made = []
    for is_undo, number, reader in script:
        if is_undo and made:
            made.append(an_undo(made[number % len(made)], reader))
        else:
            made.append(a_verdict(f"d{number % 3}", reader, "figure"))

    def lives(place):
        """Brute force: a decision lives unless a later living undo of its reader names it."""
        one = made[place]
        return not any(
            made[later].undoes == one.id and made[later].reader == one.reader and lives(later)
            for later in range(place + 1, len(made))
        )

    for reader in ("anna", "ben"):
        expected = {}
        for place, one in enumerate(made):
            if one.kind == "verdict" and one.reader == reader and lives(place):
                expected[one.detection_id] = one
        assert standing(made, reader) == expected


def test_a_reader_undoes_only_what_is_their_own():
    """Among all readers' decisions an undo of another's counts for nothing."""
    first = a_verdict("d", reader="anna")
    assert list(counting([first, an_undo(first, reader="ben")])) == [first]
    assert list(counting([first, an_undo(first)])) == []
