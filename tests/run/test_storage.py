"""What a disk refuses is said with a remedy of its own, and any text can be written."""

import errno
import os
from pathlib import Path

import pytest

from mitosieve.errors import StorageError
from mitosieve.run.folder import write_atomic
from mitosieve.run.storage import storage_error

REMEDIES = {
    errno.ENOSPC: "free some space", errno.EDQUOT: "free some space", errno.EFBIG: "ulimit",
    errno.ENAMETOOLONG: "shorter name", errno.EROFS: "for reading only", errno.ENOLCK: "local disk",
    errno.EACCES: "that you may write to",
}  # fmt: skip


@pytest.mark.parametrize("number", REMEDIES)
def test_each_refusal_has_its_remedy(number):
    """The remedy is that of the fault, and the system's words are there where they say more."""
    told = str(storage_error(OSError(number, os.strerror(number)), Path("a")))
    assert REMEDIES[number] in told
    assert sum(words in told for words in set(REMEDIES.values())) == 1


def test_a_name_that_is_too_long_is_said(tmp_path):
    """By the disk itself."""
    with pytest.raises(StorageError, match="shorter name"):
        write_atomic(tmp_path / ("a" * 300), "x")


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path):
    """A name that the disk takes is written."""
    assert write_atomic(tmp_path / ("ä" * 127), "x").read_text() == "x"


def test_text_that_is_no_utf_8(tmp_path):
    """Bytes of another encoding in a path are written escaped, and the file is read as UTF-8."""
    name = os.fsdecode(b"Pr\xe4parat")
    assert write_atomic(tmp_path / "a", f"{name} ä").read_text(encoding="utf-8") == "Pr\\udce4parat ä"
