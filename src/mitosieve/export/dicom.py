"""DICOM Microscopy Bulk Simple Annotations: points with scores, for viewers and archives that speak DICOM.

Coordinates are those of the whole image ("2D", "VOLUME"): px of the total pixel matrix whose corner, not whose first
pixel's centre, is (0, 0); so half a pixel is added, as for QuPath. Knows nothing of detectors and reads no pixels.
Source: DICOM PS3.3 C.37.1.2 (module), C.18.6 (sub-pixel origin).

Two kinds of slide. One that is DICOM itself: its level 0 is referred to, with its patient, study and specimen. Any
other file has no DICOM identity: identifiers are derived from its name, size and resolution, so that they are the same
each time; they exist in no archive, and each group of the file says so.
"""

import hashlib
import logging
import math
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import IO

import numpy as np
from highdicom import AlgorithmIdentificationSequence, SpecificCharacterSetValues
from highdicom.ann import (
    AnnotationCoordinateTypeValues,
    AnnotationGroup,
    AnnotationGroupGenerationTypeValues,
    GraphicTypeValues,
    Measurements,
    MicroscopyBulkSimpleAnnotations,
)
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.sr.coding import Code
from pydicom.uid import UID, VLWholeSlideMicroscopyImageStorage

from mitosieve.detection import Detections
from mitosieve.errors import FormatError, SlideError
from mitosieve.export.context import SlideContext
from mitosieve.run.folder import write_atomic
from mitosieve.slide.dicom_series import dicom_files

CORNER_SHIFT = 0.5
"""DICOM px minus ours: there the first pixel covers 0 to 1, here -0.5 to 0.5."""

SCHEME = "99MITOSIEVE"
"""Our own codes: DICOM's types of annotation (CID 8135, extensible) hold cell and nucleus, no mitotic figure."""

FIGURE = Code("figure", SCHEME, "Mitotic figure")
CANDIDATE = Code("candidate", SCHEME, "Mitotic figure candidate, below the threshold")
SCORE = Code("score", SCHEME, "Detection score, 0 to 1, not calibrated")
_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
_NO_UNITS = Code("1", "UCUM", "no units")
_AI = Code("123110", "DCM", "Artificial Intelligence")

UNKNOWN_DATE, UNKNOWN_TIME = "19000101", "000000"
"""Content date and time, which DICOM demands, where the slide states none: equal detections give equal bytes."""

_NAMESPACE = uuid.UUID("6f6d6a1c-5a3f-4c0e-9d2b-7b1f6f1f8f57")
_DEMANDED = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate",
             "StudyTime", "ReferringPhysicianName")  # fmt: skip
"""What an annotation takes over from its image; some writers of slides leave these out."""

_TAKEN = ("SOPInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", *_DEMANDED, "ContentDate", "ContentTime")
"""What of the image is written, and so is in the identity of what is written."""

_REMEDY = "detect on the whole DICOM series, or choose another --format"
_log = logging.getLogger(__name__)


def write_annotations(path: Path, detections: Detections, slide: SlideContext) -> Path:
    """Write detections of one slide as two groups of points: figures, and candidates below the threshold.

    A group without a point is left out; each point has its score and the score of each stage that saw it (float32, as
    are positions). Without any detection **no file is written**, and one that was there is removed: a DICOM annotation
    cannot be empty. Equal detections of an equal slide give equal bytes (with equal versions of the libraries).

    Args:
        path: where to.
        detections: of one slide, level-0 px.
        slide: which slide; if it is DICOM, its headers are read.

    Raises:
        FrameError: the detections are of several slides, or of another one.
        FormatError: the slide is DICOM, but holds no level of its size.
        StorageError: the file cannot be written.
    """
    slide.check(detections)
    if not len(detections):
        _log.warning("%s: nothing was found on %s; DICOM knows no empty annotation: no file", path, slide.slide_id)
        path.unlink(missing_ok=True)
        return path
    source, is_dicom = _source(slide)
    taken = [str(source.get(name)) for name in _TAKEN]
    identity = _digest(detections, *taken, _version(), slide.slide_id, _description(slide, is_dicom=is_dicom))
    made = MicroscopyBulkSimpleAnnotations(
        source_images=[source],
        annotation_coordinate_type=AnnotationCoordinateTypeValues.SCOORD,
        annotation_groups=list(_groups(detections, slide, identity, is_dicom=is_dicom)),
        series_instance_uid=_uid("series", identity),
        series_number=1,
        sop_instance_uid=_uid("instance", identity),
        instance_number=1,
        manufacturer="mitosieve",
        manufacturer_model_name="mitosieve",
        software_versions=_version(),
        device_serial_number="none",
        content_description="Mitotic figures; research use, not for diagnosis",
        content_label="MITOTIC_FIGURES",
        content_date=source.get("ContentDate") or UNKNOWN_DATE,
        content_time=source.get("ContentTime") or UNKNOWN_TIME,
        series_description="Mitotic figures (mitosieve)" + ("" if is_dicom else "; the slide itself is not DICOM"),
        specific_character_set=SpecificCharacterSetValues.UNICODE_IN_UTF8,
        coding_schemes=[CodingSchemeIdentificationItem(SCHEME, name="Codes of mitosieve, private")],
    )
    _forget_clock(made)

    def write(file: IO[bytes]) -> None:
        made.save_as(file, enforce_file_format=True)

    return write_atomic(path, write)


def _groups(detections: Detections, slide: SlideContext, identity: str, *, is_dicom: bool) -> Iterator[AnnotationGroup]:
    """The two groups, numbered from 1; one without points is left out."""
    algorithm = AlgorithmIdentificationSequence(name="mitosieve", family=_AI, version=_version())
    number = 0
    for is_figure, kind in ((True, FIGURE), (False, CANDIDATE)):
        part = detections[detections.is_figure == is_figure]
        if not len(part):
            continue
        number += 1
        points = (part.center_l0 + CORNER_SHIFT).astype(np.float32)
        columns = [(SCORE, part.score)]
        columns += [
            (_stage_code(stage, name), values)
            for stage, (name, values) in enumerate(zip(part.stage_names, part.stage_score.T, strict=True), start=1)
            if not np.isnan(values).all()  # nor is there an empty measurement
        ]
        yield AnnotationGroup(
            number=number,
            uid=_uid("group", kind.value, identity),
            label=kind.meaning.split(",")[0],
            annotated_property_category=_STRUCTURE,
            annotated_property_type=kind,
            graphic_type=GraphicTypeValues.POINT,
            graphic_data=list(points[:, None, :]),
            algorithm_type=AnnotationGroupGenerationTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            measurements=[Measurements(name=code, values=values, unit=_NO_UNITS) for code, values in columns],
            description=_description(slide, is_dicom=is_dicom),
        )


def _forget_clock(made: Dataset) -> None:
    """Take out the times of writing that the library adds and DICOM does not demand."""
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        delattr(made, name)
    for equipment in made.get("ContributingEquipmentSequence", ()):
        if equipment.get("ManufacturerModelName") == "highdicom":
            del equipment.ContributionDateTime


def _stage_code(number: int, name: str) -> Code:
    return Code(f"stage{number}", SCHEME, _long_string(f"Score of stage {name}"))


def _long_string(text: str) -> str:
    """Text as DICOM's LO takes it: 64 bytes, and no backslash, which would divide it."""
    return text.replace("\\", "/").encode()[:64].decode(errors="ignore")


def _description(slide: SlideContext, *, is_dicom: bool) -> str:
    """What a reader must know to put the points in place again."""
    (width, height), (x_um, y_um) = slide.size_l0, slide.mpp_xy
    text = (
        f"Points in px of the whole image of {slide.slide_id} ({width} x {height} px, {x_um:g} x {y_um:g} um per px). "
        f"Scores are not calibrated. A content date of {UNKNOWN_DATE} stands for an unknown one. "
        "Research use, not for diagnosis."
        + "".join(f" Warning: {warning}." for warning in slide.warnings)
        + "".join(f" Note: {note}." for note in slide.notes)
    )
    if is_dicom:
        return text
    return f"{text} The slide is not a DICOM file: the identifiers of the image that this annotation refers to, and of \
its study, are derived from its name, size and resolution and exist in no archive."


def _source(slide: SlideContext) -> tuple[Dataset, bool]:
    """The image that is annotated, as highdicom wants to see it, and whether it is a DICOM file."""
    found = _dicom_level0(slide)
    source = _stand_in(slide) if found is None else found
    for name in _DEMANDED:
        if name not in source:
            setattr(source, name, "")
    if "FrameOfReferenceUID" not in source:
        source.FrameOfReferenceUID = _uid("frame", str(source.SOPInstanceUID))
    if "SOPInstanceUIDOfConcatenationSource" in source:  # PS3.3 C.37.1.2: parts of a concatenation are not referred to
        source.SOPInstanceUID = source.SOPInstanceUIDOfConcatenationSource
    return source, found is not None


def _stand_in(slide: SlideContext) -> Dataset:
    """The header of the DICOM slide that this file would be, as far as it is known: no patient, no date."""
    facts = repr((slide.slide_id, slide.size_l0, slide.mpp_xy))
    image = Dataset()
    image.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.SOPInstanceUID, image.SeriesInstanceUID, image.StudyInstanceUID, image.FrameOfReferenceUID = (
        _uid(part, facts) for part in ("image", "image series", "study", "frame")
    )
    image.Modality = "SM"
    image.ContainerIdentifier = _long_string(slide.slide_id)
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = slide.size_l0
    return image


def _dicom_level0(slide: SlideContext) -> Dataset | None:
    """The header of the slide's level 0; None where the slide is no DICOM.

    A folder is a series; a file stands for the series whose files lie beside it, and of several areas of a glass for
    its own.

    Raises:
        FormatError: it is DICOM, and none of its images has the slide's size.
    """
    if not slide.path.is_dir() and not _is_dicom(slide.path):
        return None
    files = sorted(_files_of(slide.path), key=lambda path: path.name != slide.path.name)
    headers = [_header(path) for path in files]
    fitting = [
        header
        for header in headers
        if header.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage
        and (header.get("TotalPixelMatrixColumns"), header.get("TotalPixelMatrixRows")) == slide.size_l0
        and "VOLUME" in header.get("ImageType", ())
    ]
    if fitting:
        named = _corner_of(headers[0])
        return min(fitting, key=lambda header: _apart_mm(_corner_of(header), named))
    if slide.path.is_dir() and not headers:
        return None
    raise FormatError(
        f"holds no DICOM slide level of {slide.size_l0[0]} x {slide.size_l0[1]} px to refer to",
        where=slide.path,
        remedy=_REMEDY,
    )


def _corner_of(header: Dataset) -> tuple[float, float] | None:
    """Where on the glass an image begins, mm; None where it does not say."""
    (origin, *_) = header.get("TotalPixelMatrixOriginSequence") or (Dataset(),)
    x, y = (origin.get(f"{axis}OffsetInSlideCoordinateSystem") for axis in "XY")
    return None if x is None or y is None else (float(x), float(y))


def _apart_mm(one: tuple[float, float] | None, other: tuple[float, float] | None) -> float:
    """Of two corners; levels of one area may begin at the middles of their own first pixels."""
    return 0.0 if one is None or other is None else math.dist(one, other)


def _files_of(path: Path) -> list[Path]:
    """The files of a DICOM slide; none where a folder holds no such slide."""
    try:
        return dicom_files(path)
    except SlideError as error:
        if path.is_dir() and not any(_is_dicom(item) for item in path.iterdir()):
            return []
        raise FormatError(error.what, where=error.where, remedy=_REMEDY) from error


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _header(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True)
    except (InvalidDicomError, OSError, ValueError, AttributeError, EOFError) as error:
        raise FormatError(f"is a DICOM file that cannot be read ({error})", where=path, remedy=_REMEDY) from error


def _version() -> str:
    return metadata.version("mitosieve")


def _digest(detections: Detections, *parts: str) -> str:
    """sha256 of all that is written."""
    digest = hashlib.sha256(repr((parts, detections.stage_names)).encode())
    columns: tuple[NDArray[np.generic], ...] = (
        detections.center_l0, detections.score, detections.is_figure, detections.stage_score
    )  # fmt: skip
    for column in columns:
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def _uid(*parts: str) -> UID:
    """A UID of the 2.25 root, the same for equal parts. Source: DICOM PS3.5 B.2, UIDs made of UUIDs."""
    return UID(f"2.25.{uuid.uuid5(_NAMESPACE, repr(parts)).int}")
