"""A result of `detect` with what was decided about it: detections by id, slides, how they were counted.

Reads what `scan` wrote, in place; opens no slide.
"""

import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mitosieve.annotation import NO_MARK
from mitosieve.cohort.table import finite, read_table
from mitosieve.count.ground import Ground
from mitosieve.count.summary import SlideFindings
from mitosieve.detection import Detections, detection_ids
from mitosieve.errors import FormatError, InputError, some
from mitosieve.export.table import read_detections
from mitosieve.geometry import inside_roi
from mitosieve.review.area import areas_of
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog, readers_of, standing
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, hash_file, kind_of, read_json
from mitosieve.run.layout import Kind
from mitosieve.scan import CountConfig, failed_slides, read_request

_AGAIN = "run detect again into a new folder"


@dataclass(frozen=True, kw_only=True)
class FoundSlide:
    """A slide that was done.

    Attributes:
        slide_id: its name.
        path: where its image lay; None where an older result does not say.
        mpp_xy: um per level-0 px along a row and along a column.
        size_l0: width, height in level-0 px.
        tissue_mm2: of tissue that was looked at; None where it is not known.
        proposer: which places the networks looked at, in words.
        ground: where its tissue is; None where it is not known.
    """

    slide_id: str
    path: Path | None
    mpp_xy: tuple[float, float]
    size_l0: tuple[int, int]
    tissue_mm2: float | None
    proposer: str
    ground: Ground | None = None


@dataclass(frozen=True, kw_only=True)
class FoundResult:
    """What `detect` left in a folder, and the decisions beside it.

    Attributes:
        folder: of the result.
        detections: of all slides, as in their table.
        slides: those that were done, by name.
        detector: its name in the package, or its folder as it was.
        detector_hash: of the detector, of which the ids are made; empty where the result does not say.
        threshold: operating threshold of the result.
        counts: how slides were counted.
        decisions: of all readers, in the order of the file.
        failed: slide_id -> why, of slides that were asked for and not done, be it after they were done once.
        lay_at: slide_id -> where its image lay, of those that failed and whose place the job says.
        areas: slide_id -> the area of it that alone was searched, level-0 px; without slides that were searched whole.
    """

    folder: Path
    detections: Detections
    slides: dict[str, FoundSlide]
    detector: str
    detector_hash: str
    threshold: float
    counts: CountConfig
    decisions: Sequence[Decision]
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    lay_at: Mapping[str, Path] = field(default_factory=dict[str, Path])
    areas: Mapping[str, BaseGeometry] = field(default_factory=dict[str, BaseGeometry])

    @classmethod
    def load(cls, folder: Path) -> "FoundResult":
        """Read a folder that `detect` made.

        Raises:
            RunFolderError: it was made by something else.
            FormatError: a file is missing or broken.
        """
        mark = RunFolder(folder).check_kind(Kind.DETECT)
        request = read_request(folder)
        stated = request.get("slides", {})
        paths: dict[str, Any] = stated if isinstance(stated, dict) else {}
        threshold, counts = _counted(folder, mark.provenance, request)
        failed = failed_slides(folder)
        return cls(
            folder=folder,
            detections=read_detections(folder / layout.DETECTIONS),
            slides=_slides(folder, paths, without=failed),
            detector=str(request.get("detector", "")),
            detector_hash=str(request.get("detector_hash", "")),
            threshold=threshold,
            counts=counts,
            decisions=tuple(DecisionLog.beside(folder).read()),
            failed=failed,
            lay_at={name: Path(str(paths[name])) for name in failed if name in paths},
            areas=areas_of(request, folder),
        )

    @cached_property
    def ids(self) -> NDArray[np.object_]:
        """(N,) id of each detection."""
        return np.array(detection_ids(self.detections, self.detector_hash), dtype=object)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Row of each detection, by its id."""
        return {name: row for row, name in enumerate(self.ids.tolist())}

    def near(self, slide_id: str, place: tuple[float, float], um: float) -> list[tuple[str, float, float, float, bool]]:
        """Id, x, y and score of the detections of a slide within `um` of a place, level-0 px, along x and along y, and
        whether each was called a figure.
        """
        rows = self._rows_of.get(slide_id, np.zeros(0, dtype=np.intp))
        if not len(rows):
            return []
        away_um = np.abs(self.detections.center_l0[rows] - place) * self.slides[slide_id].mpp_xy
        rows = rows[(away_um <= um).all(axis=1)]
        here = self.detections[rows]
        columns = (self.ids[rows], *here.center_l0.T, here.score, here.is_figure)
        return list(zip(*(column.tolist() for column in columns), strict=True))

    @cached_property
    def _rows_of(self) -> dict[str, NDArray[np.intp]]:
        names, slide = np.unique(self.detections.slide_id, return_inverse=True)
        order = np.argsort(slide, kind="stable")
        return dict(zip(names.tolist(), np.split(order, np.cumsum(np.bincount(slide))[:-1]), strict=True))

    def is_searched(self, slide_id: str, x: float, y: float) -> bool:
        """Whether a place, level-0 px, lies where figures were searched for: counts are of nothing else."""
        return bool(inside_roi(self.areas.get(slide_id), np.array([[x, y]]))[0])

    def findings(self, slide_id: str, detections: Detections) -> SlideFindings:
        """Detections of a slide, the result's or others, ready to be counted."""
        slide = self.slides[slide_id]
        return SlideFindings(
            slide_id=slide_id,
            mpp_xy=slide.mpp_xy,
            size_l0=slide.size_l0,
            tissue_mm2=slide.tissue_mm2,
            detections=detections,
            proposer=slide.proposer,
            ground=slide.ground,
            threshold=self.threshold,
        )

    def require_decisions(self) -> None:
        """Refuse a result that nobody looked at.

        Raises:
            InputError: there is no decision.
        """
        if not self.decisions:
            raise InputError(
                "nothing was decided about this result",
                where=self.folder / layout.DECISIONS,
                remedy=f"look at it: mitosieve view {self.folder}",
            )


def read_source(source: Path) -> tuple[list[Decision], FoundResult | None]:
    """The decisions of a folder, and the result of detect that it is, if it is one.

    Raises:
        InputError: it holds no decision.
        FormatError, RunFolderError: a file cannot be read.
    """
    decisions = DecisionLog.beside(source).read()
    if not decisions:
        raise InputError(
            f"holds no decision ({layout.DECISIONS})",
            where=source,
            remedy=f"name the folder that was looked at, or look at it: mitosieve view {source}",
        )
    return decisions, FoundResult.load(source) if kind_of(source) is Kind.DETECT else None


def background_of(source: Path) -> frozenset[tuple[str, float, float]]:
    """Slide, x and y, to two digits, of the places that an audit shows and that have no mark; none of anything else.

    Raises:
        FormatError: its table is broken.
    """
    table = source / layout.AUDIT
    rows = read_table(table, required=("slide_id", "x", "y", "label")) if table.exists() else []
    return frozenset(
        place_of(row.values["slide_id"], *(finite(row.values[name], name, where=row.where) for name in "xy"))
        for row in rows
        if row.values["label"] == NO_MARK
    )


def place_of(slide_id: str, x: float, y: float) -> tuple[str, float, float]:
    """A place to the digits of an audit's table."""
    return slide_id, round(x, 2), round(y, 2)


def origin_of(source: Path) -> str:
    """What a mark says of the decisions that corrected it: their file, and the first 12 digits of its sha256."""
    return f"{layout.DECISIONS} {hash_file(source / layout.DECISIONS)[:12]}"


def decisions_of(decisions: Sequence[Decision], readers: tuple[str, ...], source: Path) -> list[Decision]:
    """Decisions of some readers, or of all where none is named.

    Raises:
        InputError: a reader decided nothing.
    """
    there = {decision.reader for decision in decisions}
    strangers = [name for name in readers if name not in there]
    if strangers:
        raise InputError(
            f"nothing was decided by '{strangers[0]}'", where=source, remedy=f"readers here: {', '.join(sorted(there))}"
        )
    return [decision for decision in decisions if not readers or decision.reader in readers]


def left_out(decisions: Sequence[Decision], slides: Collection[str], why: str = "were not done") -> str:
    """What is said of decisions that count nowhere, since they are about some slides, by default such that were not
    done: how many stand of each; empty where none does.
    """
    every = (one for reader in readers_of(decisions) for one in standing(decisions, reader).values())
    number_of = Counter(one.slide_id for one in every if one.slide_id in slides)
    if not number_of:
        return ""
    told = some(f"{slide} ({n})" for slide, n in number_of.items())
    decisions_are = "1 decision is" if number_of.total() == 1 else f"{number_of.total()} decisions are"
    return f"{decisions_are} left out, on slides that {why}: {told}"


def _counted(folder: Path, provenance: dict[str, Any], request: dict[str, Any]) -> tuple[float, CountConfig]:
    """The operating threshold of a result, and how its slides were counted."""
    try:
        stated = request["threshold"] if "threshold" in request else provenance["threshold"]
        return float(stated), CountConfig(**provenance["counts"])
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(
            f"does not say how slides were counted ({error!r})", where=folder / layout.RUN, remedy=_AGAIN
        ) from error


def _slides(folder: Path, paths: dict[str, Any], *, without: Collection[str]) -> dict[str, FoundSlide]:
    """From the JSON of each slide; one that failed when the job was repeated may have one of before."""
    found: dict[str, FoundSlide] = {}
    for path in sorted((folder / layout.SLIDE_SUMMARIES).glob("*.json")):
        content = read_json(path, {}, remedy=_AGAIN)
        try:
            slide_id = str(content["slide_id"])
            if slide_id in without:
                continue
            tissue, where = content["tissue_mm2"], paths.get(slide_id)
            found[slide_id] = FoundSlide(
                slide_id=slide_id,
                path=None if where is None else Path(str(where)),
                mpp_xy=(float(content["mpp"][0]), float(content["mpp"][1])),
                size_l0=(int(content["size_l0"][0]), int(content["size_l0"][1])),
                tissue_mm2=None if tissue is None else float(tissue),
                proposer=str(content["proposer"]),
                ground=Ground.from_json(content.get("ground")),
            )
        except (KeyError, IndexError, TypeError, ValueError, zlib.error) as error:
            raise FormatError(f"is no summary of a slide ({error!r})", where=path, remedy=_AGAIN) from error
    return found
