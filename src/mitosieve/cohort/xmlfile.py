"""XML files of annotation, read strictly: a fault names the file and the remedy. Knows nothing of what they hold."""

import xml.etree.ElementTree as ET
from pathlib import Path

from mitosieve.errors import FormatError
from mitosieve.slide.hidden import files_below


def read_root(path: Path, *, root: str, remedy: str) -> ET.Element:
    """The root of an XML file; namespaces are left out of its tags.

    Args:
        path: the file.
        root: the tag that it must have.
        remedy: what the format looks like.

    Raises:
        FormatError: not readable, not XML, or of another root.
    """
    try:
        element = ET.parse(path).getroot()
    except (ET.ParseError, ValueError, LookupError, OSError) as error:
        raise FormatError(f"is not XML ({error})", where=path, remedy=remedy) from error
    for one in element.iter():
        one.tag = one.tag.rsplit("}", 1)[-1]
    if element.tag != root:
        raise FormatError(f"is <{element.tag[:80]}>, not <{root}>", where=path, remedy=remedy)
    return element


def xml_files(source: Path) -> list[Path]:
    """A file itself; of a folder, its XML files and those below, hidden ones aside, by name."""
    if source.is_file():
        return [source]
    return [path for path in files_below(source) if path.suffix.lower() == ".xml"]
