"""The ICPR 2012 contest's layout (MITOS). Knows this layout and no other.

    <folder>/<frame>.bmp      <frame> is A00_00, H04_09, ...: Aperio or Hamamatsu, slide, frame; also .tif, .png
    <folder>/<frame>.csv      x,y,x,y,... a line: all px of one figure; no header; empty where none was found
    <folder>/<frame>.jpg      the same frame with its figures outlined: no tissue, where one of these is beside it

The A and the H scan of one number show the same tissue, so they are one case. Slides 03 and 04 are those of
MITOS-ATYPIA-14, which numbers its slides alike: in one cohort they are one case. The contest's third microscope (ten
bands) is no H&E image and is left out.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mitosieve.annotation import Label
from mitosieve.cohort.atypia14 import SCANNERS
from mitosieve.cohort.image_name import ImageFolder, files_below, may_be_image
from mitosieve.cohort.marked import Caution, Mark, MarkedImage, Reading
from mitosieve.cohort.table import read_numbers
from mitosieve.errors import FormatError, plural, some

_FRAME = re.compile(r"([AH])(\d\d)_\d\d")
MPP = {"A": 0.2456, "H": 0.2273}
"""um per px, Aperio Scanscope XT and Hamamatsu NanoZoomer 2.0-HT (there across; down it is 0.2275). Source: Roux et al.
2013 (doi 10.4103/2153-3539.112693), materials."""

_OVERLAY = frozenset({".jpg", ".jpeg"})
MAX_SEGMENT_PX = 250
"""No figure is wider (60 um): a line whose px lie further apart holds more than one, or something else."""


def read(source: Path, images: ImageFolder | None) -> Reading:
    """Read all frames below a folder; a slide of the cohort is one frame.

    A figure's centre is the mean of its px. A frame without a CSV is kept as unlabelled. The JPEG beside a CSV is the
    frame with outlines drawn into it and is never taken, so that a frame of which nothing else is there has no image;
    one that lies elsewhere is a frame.

    Args:
        source: a folder that holds A00_00.csv, ... at any depth.
        images: a folder of frames, where they do not lie beside the CSVs.

    Raises:
        FormatError: no such layout, a frame with labels or images twice, or a line that is no list of px.
    """
    labels: dict[str, Path] = {}
    for path in files_below(source, "*.csv"):
        if _FRAME.fullmatch(path.stem):
            if path.stem in labels:
                raise FormatError(f"the frame {path.stem} has labels twice", where=path, remedy="keep one of the two")
            labels[path.stem] = path
    paths = (*files_below(source), *(() if images is None else images.paths))
    frames, drawn = _frames(paths, labels)
    if not labels and not frames:
        raise FormatError(
            "holds neither frames nor labels of ICPR 2012",
            where=source,
            remedy="expected A00_00.bmp with A00_00.csv beside it (A or H, slide, frame)",
        )
    made = tuple(_image(source, name, labels.get(name), frames.get(name)) for name in sorted(labels | frames))
    return Reading(
        images=made,
        cautions=(*_unlabelled(made), *_drawn(drawn)),
        classes=(Label.MITOTIC_FIGURE,),
        one_mpp=len({image.mpp for image in made}) < 2,
    )


def _frames(paths: Iterable[Path], labels: dict[str, Path]) -> tuple[dict[str, Path], list[str]]:
    """The frames by name, and the names of those that are there as drawings alone.

    Raises:
        FormatError: a frame is there twice.
    """
    found: dict[str, Path] = {}
    drawn: set[str] = set()
    images = {path.resolve(): path for path in paths if may_be_image(path)}
    images = {real: path for real, path in images.items() if _FRAME.fullmatch(path.stem)}
    beside = {path.resolve().with_suffix("") for path in labels.values()}
    beside |= {real.with_suffix("") for real in images if real.suffix.lower() not in _OVERLAY}
    for real, path in images.items():
        name = path.stem
        if real.suffix.lower() in _OVERLAY and real.with_suffix("") in beside:
            drawn.add(name)
        elif name in found:
            raise FormatError(f"the frame {name} is there twice, also as {found[name]}", where=path, remedy="keep one")
        else:
            found[name] = path
    return found, sorted(drawn - set(found))


def _image(source: Path, name: str, labels: Path | None, path: Path | None) -> MarkedImage:
    letter, tissue = name[0], name[1:3]
    folder = source if labels is None else labels.parent
    return MarkedImage(
        slide_id=name,
        file_name=(folder / f"{name}.bmp").relative_to(source).as_posix(),
        case_id=tissue,
        domain=SCANNERS[letter],
        marks=tuple(_marks(source, labels)) if labels else (),
        labelled=labels is not None,
        mpp=MPP[letter],
        path=path,
        looked_for=True,
    )


def _marks(source: Path, path: Path) -> Iterable[Mark]:
    for line, numbers in read_numbers(path, names=("x", "y"), repeated=True):
        where = f"{path}, line {line}"
        places = np.array(numbers).reshape(-1, 2)
        apart = np.ptp(places, axis=0).max()
        if apart > MAX_SEGMENT_PX:
            raise FormatError(
                f"its px lie up to {apart:g} px apart, which is no one figure",
                where=where,
                remedy="expected the px of one figure a line: x,y,x,y,...",
            )
        x, y = places.mean(axis=0)
        yield Mark(
            x=float(x),
            y=float(y),
            name=Label.MITOTIC_FIGURE.value,
            where=where,
            source=path.relative_to(source).as_posix(),
        )


def _drawn(names: list[str]) -> tuple[Caution, ...]:
    if not names:
        return ()
    text = (
        f"of {plural(len(names), 'frame')} only the JPEG beside the labels is there, into which the contest drew its "
        f"figures; it was not taken: {some(names)} (add the .bmp frames; JPEGs that are no drawings go into another "
        "folder, named with --images)"
    )
    return (Caution(text=text),)


def _unlabelled(images: tuple[MarkedImage, ...]) -> tuple[Caution, ...]:
    names = [image.slide_id for image in images if not image.labelled]
    if not names:
        return ()
    return (Caution(text=f"{plural(len(names), 'frame')} without a CSV, kept as unlabelled: {some(names)}"),)
