"""Endings of files that may be slides: one set, so that what one command takes from a folder all others take too."""

_WHOLE_SLIDES = (
    ".svs",
    ".tif",
    ".tiff",
    ".btf",
    ".ndpi",
    ".mrxs",
    ".scn",
    ".bif",
    ".vms",
    ".vmu",
    ".svslide",
    ".czi",
    ".dcm",
    ".vsi",
)
SLIDE_SUFFIXES = frozenset((*_WHOLE_SLIDES, ".png", ".jpg", ".jpeg", ".bmp"))
"""What is taken from a folder, in small letters. A file that is named is taken whatever its name; `.vsi` is refused."""
