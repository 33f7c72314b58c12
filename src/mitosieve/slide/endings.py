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
"""What is called a slide, and taken from a folder by `detect`, in small letters: what is not read fails there by name.
A file that is named is taken whatever its name."""
READ_SUFFIXES = SLIDE_SUFFIXES - {".vsi"}
"""Those that a reader reads: a `.vsi` beside its own export is no second image, so imports pass it over."""
