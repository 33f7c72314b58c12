"""What a system or a program hides in a folder, as `._` of a Mac or a disk's bin: nobody put it there to be read."""

from pathlib import Path


def is_hidden(path: Path, folder: Path) -> bool:
    """Whether a path below a folder, or a folder on the way to it, is called with a leading dot; the folder may be."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def visible(folder: Path, pattern: str = "*") -> list[Path]:
    """What of a folder matches a pattern, by its paths; "**/*" at any depth; without what is hidden."""
    return sorted(path for path in folder.glob(pattern) if not is_hidden(path, folder))


def files_below(folder: Path, pattern: str = "*") -> list[Path]:
    """Files below a folder at any depth that match a pattern, by their paths; without what is hidden."""
    return [path for path in visible(folder, f"**/{pattern}") if path.is_file()]
