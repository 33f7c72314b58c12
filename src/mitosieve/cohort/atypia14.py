"""MITOS-ATYPIA-14 in the official layout. Knows this layout and no other.

    <slide>/frames/x40/<frame>.tiff              <slide> is A03, H03, ...: Aperio or Hamamatsu, and the tissue
    <slide>/mitosis/<frame>_mitosis.csv          x,y[,confidence] a line, no header; may be empty
    <slide>/mitosis/<frame>_not_mitosis.csv      the same for imposters

The A and the H scan of one number show the same tissue, so they are one case. Their frames differ in resolution: the
letter tells the scanner, and the scanner's resolution is used where none is given.
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

from mitosieve.annotation import Label
from mitosieve.cohort.image_name import ImageFolder, files_below, may_be_image
from mitosieve.cohort.marked import Caution, Mark, MarkedImage, Reading, share
from mitosieve.cohort.table import read_numbers
from mitosieve.errors import FormatError, plural, some

_SLIDE = re.compile(r"([AH])(\d+)")
SCANNERS = {"A": "Aperio Scanscope XT", "H": "Hamamatsu NanoZoomer 2.0-HT"}
MPP = {"A": 0.2455, "H": 0.2273}
"""um per px at x40, Aperio Scanscope XT and Hamamatsu NanoZoomer 2.0-HT (there across; down it is 0.2275). Source:
the challenge's description of its data, as repeated by others; the page itself could not be read."""

_ENDINGS = {"_not_mitosis.csv": Label.IMPOSTER, "_mitosis.csv": Label.MITOTIC_FIGURE}  # the longer ending first


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read all slides below a folder, or one slide's folder; a slide of the cohort is one x40 frame.

    A frame with a `_mitosis.csv` is labelled, also where that file is empty; a frame without one (the test slides) is
    kept as unlabelled. The files may lie in `mitosis/` or beside the frames. The confidence becomes the score.

    Args:
        source: a folder that holds A03, H03, ... at any depth, or one of these.
        images: a folder of frames, where they do not lie below `source`.

    Raises:
        FormatError: no such layout, or a line that is not x,y[,confidence].
    """
    files: dict[str, dict[Label, Path]] = {}
    for path in files_below(source, "*_mitosis.csv"):
        ending, label = next(item for item in _ENDINGS.items() if path.name.endswith(item[0]))
        frame = path.name.removesuffix(ending)
        if _SLIDE.fullmatch(frame.split("_")[0]):
            if label in files.setdefault(frame, {}):
                raise FormatError(f"the frame {frame} has labels twice", where=path, remedy="keep one of the two files")
            files[frame][label] = path
    frames = _frames(source, () if images is None else images.paths)
    if not files and not frames:
        raise FormatError(
            "holds neither frames nor labels of MITOS-ATYPIA-14",
            where=source,
            remedy="expected <slide>/frames/x40/*.tiff and <slide>/mitosis/<frame>_mitosis.csv, <slide> as A03",
        )
    made = tuple(
        _image(source, frame, files.get(frame, {}), frames.get(frame)) for frame in sorted(files.keys() | frames.keys())
    )
    return Reading(
        images=made, cautions=_unlabelled(made), classes=tuple(Label), one_mpp=len({image.mpp for image in made}) < 2
    )


def _frames(source: Path, given: Iterable[Path]) -> dict[str, Path]:
    """The x40 frames by name: those below `source`, then those of a folder of images."""
    below = (p for p in files_below(source, "x40/*") if may_be_image(p))
    frames: dict[str, Path] = {}
    for path in (*below, *given):
        if _SLIDE.fullmatch(path.stem.split("_")[0]) and not {"x10", "x20"} & set(path.parts[-2:-1]):
            frames.setdefault(path.stem, path)
    return frames


def _image(source: Path, frame: str, files: dict[Label, Path], path: Path | None) -> MarkedImage:
    slide = frame.split("_")[0]
    letter, tissue = slide[0], slide[1:]
    marks = [mark for label in Label if label in files for mark in _marks(source, files[label], label)]
    return MarkedImage(
        slide_id=frame,
        file_name=f"{slide}/frames/x40/{frame}.tiff",
        case_id=tissue,
        domain=SCANNERS[letter],
        marks=tuple(marks),
        labelled=Label.MITOTIC_FIGURE in files,
        mpp=MPP[letter],
        path=path,
    )


def _marks(source: Path, path: Path, label: Label) -> Iterable[Mark]:
    for line, (x, y, *confidence) in read_numbers(path, names=("x", "y", "confidence"), extra=1):
        where = f"{path}, line {line}"
        score = share(confidence[0], where=where) if confidence else math.nan
        yield Mark(x=x, y=y, name=label.value, where=where, score=score, source=path.relative_to(source).as_posix())


def _unlabelled(images: tuple[MarkedImage, ...]) -> tuple[Caution, ...]:
    found: dict[str, list[str]] = {}
    for image in images:
        if not image.labelled:
            found.setdefault(image.domain, []).append(image.slide_id)
    return tuple(
        Caution(
            text=f"{plural(len(names), 'frame')} without a _mitosis.csv, kept as unlabelled: {some(names)}",
            domain=domain,
        )
        for domain, names in found.items()
    )
