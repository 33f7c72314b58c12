"""What a path that somebody wants to look at is: a result, an audit, a cohort, or slides."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mitosieve.errors import InputError
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, kind_of
from mitosieve.scan.paths import is_dicom_slide, paths_of
from mitosieve.slide.moved import Sought, found_again
from mitosieve.slide.slide import facts
from mitosieve.view.results import read_cells, read_result
from mitosieve.view.viewed import Cells, Kind, Viewed, ViewedSlide

_OF_CELLS = (layout.DETECTIONS, layout.AUDIT, "annotations.csv", layout.SLIDES)


def open_viewed(
    path: Path, *, slides: Path | None = None, mpp: float | None = None
) -> tuple[Viewed, Callable[[], Cells]]:
    """What is at a path, and a function that reads its cells; a table of a million takes seconds.

    Args:
        path: a result of detect, an audit, a cohort, a folder of slides, or a slide.
        slides: folder to which the slides have moved (see `found_again`).
        mpp: um per px of a bare slide, instead of what its file states.

    Raises:
        InputError: nothing that can be looked at is there, or none of its slides can be found.
        MitosieveError: what is there is broken.
    """
    if not path.exists():
        raise InputError("there is no such folder or slide", where=path, remedy="check the path")
    if (path / layout.DETECTIONS).is_file():
        result = read_result(path)
        return _with_images(result, path, slides), lambda: read_cells(result)
    from mitosieve.view.marks import is_cohort, read_audit, read_cohort  # half a second: no tile of a result waits

    if (path / layout.AUDIT).is_file():
        viewed, cells = read_audit(path)
        return _with_images(viewed, path, slides), lambda: cells
    if is_cohort(path) and not (path / layout.RUN).is_file():
        viewed, cells = read_cohort(path)
        return _with_images(viewed, path, slides), lambda: cells
    if (path / layout.RUN).is_file():
        _refuse_run(path)
    return _bare(path, mpp), Cells.empty


def _refuse_run(path: Path) -> None:
    kind = kind_of(path)
    if kind is layout.Kind.DETECT:
        raise InputError(
            "is a job of detect that is not done", where=path, remedy="repeat its command with --resume, then view it"
        )
    raise InputError(
        f"was made by {kind.value if kind else 'another command'}, and shows no slide",
        where=path,
        remedy="name a result of detect, an audit, a cohort or a slide; of a training there is: mitosieve report",
    )


def _with_images(viewed: Viewed, path: Path, slides: Path | None) -> Viewed:
    """With its images where they are now, and what tells its cells from those of another state of it."""
    if slides is not None and not slides.is_dir():
        raise InputError("is no folder", where=slides, remedy="name the folder that the slides are in")
    sought = [Sought(slide_id=one.slide_id, path=one.path, size_l0=one.size_l0) for one in viewed.slides]
    places = zip(viewed.slides, found_again(sought, slides, "--slides"), strict=True)
    cells = " ".join(hash_file(path / name) for name in _OF_CELLS if (path / name).is_file())
    placed = tuple(replace(one, path=at.path, lost=at.why) for one, at in places)
    viewed = replace(viewed, slides=placed, cells_hash=cells)
    if viewed.slides and all(slide.path is None for slide in viewed.slides):
        names = ", ".join(slide.slide_id for slide in viewed.slides[:3])
        raise InputError(
            f"none of its slides can be found ({names}{', ...' if len(viewed.slides) > 3 else ''})",
            where=path if slides is None else slides,
            remedy=next((slide.lost for slide in viewed.slides if slide.lost), "say where they are now: --slides DIR"),
        )
    return viewed


def _bare(path: Path, mpp: float | None) -> Viewed:
    """A slide, or what detect takes of a folder; those that would have one name are called by their whole names."""
    found = paths_of([path])
    if found == [path] and path.is_dir() and not is_dicom_slide(path):
        raise InputError(
            "holds nothing that can be looked at",
            where=path,
            remedy="name a result of detect, an audit, a cohort or a slide",
        )
    for item in found[:1]:
        facts(item)  # a file that is no slide is refused before a page is opened
    names = [_name(item) for item in found]
    once = [
        name if names.count(name) == 1 else layout.as_text(item.name) for name, item in zip(names, found, strict=True)
    ]
    slides = tuple(ViewedSlide(slide_id=name, path=item, mpp=mpp) for name, item in zip(once, found, strict=True))
    return Viewed(kind=Kind.SLIDES, name=path.resolve().name, folder=None, slides=slides)


def _name(path: Path) -> str:
    return layout.as_text(path.name if path.is_dir() else path.stem)
