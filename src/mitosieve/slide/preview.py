"""Files that are only the preview of a slide whose pixels lie in a folder beside them: refused, never taken for it.

The name is asked here, and nowhere else: a preview is a good JPEG or TIFF, and only its name says what it belongs to.
"""

from pathlib import Path

from mitosieve.errors import SlideError

MIRAX_INDEX = "Slidedat.ini"
"""Lists a MIRAX slide's files, in the folder of the slide's name."""

_TO_TIFF = "export it with its maker's software or QuPath as a tiled pyramidal OME-TIFF, and name that"


def is_mirax(path: Path) -> bool:
    """Whether the folder of a MIRAX slide lies beside a file."""
    return (path.with_suffix("") / MIRAX_INDEX).is_file()


def refuse_preview(path: Path) -> None:
    """Refuse a `.mrxs` without its folder and a `.vsi`, whose pictures lie in `_NAME_/stack*/frame_t.ets`.

    Raises:
        SlideError: says what is missing, or that it is not read.
    """
    suffix = path.suffix.lower()
    if suffix == ".mrxs" and not is_mirax(path):
        raise SlideError(
            f"is the preview of a MIRAX slide, whose pixels are missing: there is no "
            f"{path.with_suffix('') / MIRAX_INDEX}",
            where=path,
            remedy=f"copy the folder {path.stem} beside it, with all its files",
        )
    if suffix == ".vsi":
        folder = path.with_name(f"_{path.stem}_")
        if not any(folder.glob("stack*/frame_t*.ets")):
            raise SlideError(
                f"is the preview of an Olympus slide, whose pixels are missing: there is no "
                f"{folder / 'stack1' / 'frame_t.ets'}",
                where=path,
                remedy=f"copy the folder {folder.name} beside it, then {_TO_TIFF}",
            )
        raise SlideError("is an Olympus VSI slide, which is not read", where=path, remedy=_TO_TIFF)
