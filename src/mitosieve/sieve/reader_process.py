"""What a reader does: opens slides and answers what is asked of them; and the main of a process that does so until its
pipe is closed. Imports no torch.
"""

import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
from shapely.geometry.base import BaseGeometry

from mitosieve.errors import MitosieveError, SlideError
from mitosieve.geometry import Mpp, Region
from mitosieve.sieve.plan import Plan, Survey
from mitosieve.sieve.tile_reader import Answer, Request, Sample, TileReader, survey
from mitosieve.slide.slide import Slide, open_slide

CACHE_BYTES = 256 * 2**20
"""Decoded pieces that a reader keeps: those of the tiles it has begun and not ended."""


@dataclass(frozen=True, kw_only=True)
class SlideSource:
    """How any process opens the same slide.

    Attributes:
        path: the file.
        slide_id: name in records.
        mpp: um per px as stated by the user or the cohort, one number or (x, y); None where the file states it.
        roi: area in level-0 px outside which nothing is wanted.
        size_l0: width and height that the image must have; None is any.
    """

    path: Path
    slide_id: str
    mpp: Mpp | None
    roi: BaseGeometry | None = None
    size_l0: tuple[int, int] | None = None

    def open(self) -> Slide:
        """Open the slide.

        Raises:
            SlideError: it cannot be read, or is of another size.
            ResolutionError: no usable resolution.
        """
        slide = open_slide(self.path, mpp=self.mpp, slide_id=self.slide_id, cache_bytes=CACHE_BYTES)
        if self.size_l0 is not None and slide.size_l0 != self.size_l0:
            found = slide.size_l0
            slide.close()
            raise SlideError(
                f"is {found[0]} x {found[1]} px, but the cohort says {self.size_l0[0]} x {self.size_l0[1]} px",
                where=self.path,
                remedy="the marks belong to another image; import the slide again",
            )
        return slide


@dataclass(frozen=True, kw_only=True)
class Open:
    """Asks a reader to open a slide; answered by `Opened`. Closes the one before."""

    source: SlideSource
    plan: Plan
    survey: Survey | None = None


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A slide that is open, and where to look in it."""

    survey: Survey
    sample: Sample
    bands: list[list[Region]]

    @classmethod
    def by(cls, reader: TileReader) -> "Opened":
        """What a reader knows before it reads a tile."""
        return cls(survey=reader.survey, sample=reader.sample(), bands=reader.bands())


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a reader sends back: an answer or an error, and the seconds it took by part."""

    value: "Answer | Opened | Exception"
    seconds: dict[str, float]


def open_tile_reader(request: Open) -> TileReader:
    """Open a slide and look it over, unless that was done."""
    slide = request.source.open()
    try:
        seen = survey(slide, request.plan) if request.survey is None else request.survey
        return TileReader(slide, request.plan, seen, request.source.roi)
    except BaseException:
        slide.close()
        raise


class Answering:
    """Answers what is asked of one slide after another; an error is an answer too."""

    def __init__(self) -> None:
        self._reader: TileReader | None = None

    def reply(self, request: Open | Request) -> Reply:
        """To a request of the slide that was opened last, or to open another, which closes it."""
        try:
            value = self._opened(request) if isinstance(request, Open) else self._open_reader.answer(request)
            return Reply(value=value, seconds=self._open_reader.clock.taken())
        except MitosieveError as error:
            return Reply(value=error, seconds={})
        except Exception as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
            where = request.source.path if isinstance(request, Open) else self._name()
            failure = SlideError(f"reading failed unexpectedly ({type(error).__name__}: {error})", where=where)
            return Reply(value=failure, seconds={})

    def close(self) -> None:
        if self._reader is not None:
            self._reader.slide.close()
            self._reader = None

    def _opened(self, request: Open) -> Opened:
        self.close()
        self._reader = open_tile_reader(request)
        return Opened.by(self._reader)

    @property
    def _open_reader(self) -> TileReader:
        assert self._reader is not None
        return self._reader

    def _name(self) -> str:
        return "a slide" if self._reader is None else str(self._reader.slide.path)


def serve(pipe: Connection) -> None:
    """Answer requests until the other end closes; the main of a reader process.

    An interrupt is for the main process, which then ends this one.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    answering = Answering()
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        reply = answering.reply(request)
        try:
            pipe.send(reply)
        except OSError:  # the main process is gone
            return
