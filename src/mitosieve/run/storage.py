"""What a disk refuses, in words that help, and text as the bytes that are written."""

import errno
from pathlib import Path

from mitosieve.errors import StorageError

_REMEDIES = {
    errno.ENAMETOOLONG: "choose a shorter name: for --out, or for the slide or image that the file is called by",
    errno.EROFS: "the disk is mounted for reading only: choose a folder on another one",
    errno.ENOLCK: "the disk gives no locks (a network disk without its lock service?): choose a folder on a local disk",
    errno.ENOSYS: "the disk gives no locks: choose a folder on a local disk",
    errno.EIO: "the disk does not answer as it should: check it, and run again with --resume",
}


def system_error(error: OSError) -> StorageError:
    """A refusal of the operating system that nothing else has told, in words that help."""
    where = None if error.filename is None else str(error.filename)
    what = f"cannot be used ({error.strerror or error})"
    remedy = _REMEDIES.get(error.errno or 0, "check the path and the disk")
    return StorageError(what if where else f"a file {what}", where=where, remedy=remedy)


def as_bytes(text: str) -> bytes:
    """Text as UTF-8; what has no place there, as the bytes of a file's name in another encoding, is written escaped."""
    return text.encode(errors="backslashreplace")


def storage_error(error: OSError, path: Path) -> StorageError:
    """An operating system's refusal to write, in words that help."""
    if error.errno in (None, errno.ENOSPC, errno.EDQUOT):  # numpy reports a short write without a number
        return StorageError(
            "the disk is full; the file was not written",
            where=path,
            remedy="free some space and run again with --resume",
        )
    if error.errno == errno.EFBIG:
        return StorageError(
            "cannot be written (larger than this account or disk allows)",
            where=path,
            remedy="raise the limit (ulimit -f) or use another disk, and run again with --resume",
        )
    remedy = _REMEDIES.get(error.errno or 0, "choose a folder that you may write to")
    return StorageError(f"cannot be written ({error.strerror or error})", where=path, remedy=remedy)
