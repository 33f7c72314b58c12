"""Readers, bounded queues, one device loop: a slide's tiles read in parallel, scored in this process.

What comes out of a tile depends on the tile alone: not on how many readers there are, nor on the order in which they
answer.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from typing import Any

import cv2

from mitosieve.geometry import Region
from mitosieve.network.compute import Compute
from mitosieve.run.clock import Clock
from mitosieve.sieve.cascade import (
    Asking,
    Judge,
    Scored,
    Scorer,
    answered,
    columns_of,
    gates_within,
    plan_of,
    sieve_tile,
)
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.reader_process import Open, Opened, SlideSource, open_tile_reader
from mitosieve.sieve.readers import ProcessReader, Readers, ThreadReader
from mitosieve.sieve.tile_reader import IN_FLIGHT, Request, TileReader
from mitosieve.slide.slide import Slide

SIDE_BY_SIDE_PX = 2**26
"""A slide of more level-0 px is read by several readers; for a smaller one they would not pay."""

THREADS_PX, THREADS = 2**30, 2
"""Readers of a job's only slide are threads where it has no more level-0 px and they are no more: they begin at once
(10 mm2 of tissue take 5.2 s in place of 5.9). Processes take a second to start, once a job, and do not wait for each
other's Python.
"""

ReadersFor = Callable[[Slide], Readers | None]
"""Readers for a slide, or None to read it where it is judged."""


@contextlib.contextmanager
def readers_for_large(workers: int, slides: int) -> Generator[ReadersFor]:
    """Readers that are started when the first large slide asks for them, and live as long as the context.

    Args:
        workers: how many; 0 is none.
        slides: of the job.
    """
    with contextlib.ExitStack() as ending:
        started: list[Readers] = []

        def readers_for(slide: Slide) -> Readers | None:
            if workers == 0 or slide.bounds.area_px2 <= SIDE_BY_SIDE_PX:
                return None
            if not started:
                by_threads = slides == 1 and workers <= THREADS and slide.bounds.area_px2 <= THREADS_PX
                started.append(ending.enter_context(Readers(workers, ThreadReader if by_threads else ProcessReader)))
            return started[0]

        yield readers_for


Place = tuple[int, int]
"""Number of a tile's band, and of the tile in it."""

Gates = tuple[float, ...]
"""Score that a place needs to come through each stage."""

OnBand = Callable[[int, Scored], None]
"""Told the number of a band and what came through on it, as soon as its last tile is done."""


def fullest(pending: Mapping[int, Mapping[Place, Judge]]) -> int:
    """The stage whose tiles ask for most images to be judged, by stage and tile; of equal ones the latest, whose tiles
    are nearest to their end.
    """
    images = {stage: sum(len(one.images) for one in tiles.values()) for stage, tiles in pending.items()}
    return max(images, key=lambda stage: (images[stage], stage))


class _Flight:
    """Tiles that readers have begun and not ended.

    Args:
        cores: of all tiles, in the order in which they begin.
        readers: how many there are.
        sieve: begins a tile.
        ask: sends a reader a request.
        ended: told what came through a tile.

    Attributes:
        running: of each tile its reader, and what it is being sieved by.
        pending: by stage, what tiles ask to be judged.
    """

    def __init__(
        self,
        cores: Mapping[Place, Region],
        readers: int,
        sieve: Callable[[Region], Asking],
        ask: Callable[[int, Place, Request], None],
        ended: Callable[[Place, Scored], None],
    ) -> None:
        self.running: dict[Place, tuple[int, Asking]] = {}
        self.pending: dict[int, dict[Place, Judge]] = {}
        self._left = iter(cores.items())
        self._sieve = sieve
        self._ask = ask
        self._ended = ended
        for _ in range(IN_FLIGHT):
            for reader in range(readers):
                self._begin(reader)

    def read(self, place: Place, answer: Any) -> None:  # noqa: ANN401 - whatever the tile asked for
        """Give a tile what its reader answered."""
        self._go_on(place, answer)

    def judged(self, scorer: Scorer) -> None:
        """Judge what tiles ask of the fullest stage: together, or the first of them alone."""
        stage = fullest(self.pending)
        tiles = self.pending.pop(stage)
        if not scorer.may_gather:
            first = next(iter(tiles))
            alone = {first: tiles.pop(first)}
            if tiles:
                self.pending[stage] = tiles
            tiles = alone
        for place, score in zip(tiles, scorer.answers(list(tiles.values())), strict=True):
            self._go_on(place, score)

    def _begin(self, reader: int) -> None:
        for place, core in self._left:
            self.running[place] = (reader, self._sieve(core))
            self._go_on(place, None)
            return

    def _go_on(self, place: Place, answer: Any) -> None:  # noqa: ANN401 - whatever the tile asked for
        """A tile asks for more, or has ended and its reader begins another."""
        reader, asking = self.running[place]
        try:
            request = asking.send(answer)
        except StopIteration as end:
            del self.running[place]
            self._begin(reader)
            self._ended(place, end.value)
            return
        if isinstance(request, Judge):
            self.pending.setdefault(request.stage, {})[place] = request
        else:
            self._ask(reader, place, request)


class Sieving:
    """One slide on its way through a detector.

    Args:
        detector: loaded.
        source: of the slide.
        compute: machine.
        clock: gets the seconds of every part, of this process and of the readers.
        readers: that read; None reads here.
    """

    def __init__(
        self, detector: Detector, source: SlideSource, compute: Compute, clock: Clock, readers: Readers | None
    ) -> None:
        cv2.setNumThreads(1)  # patches are cut side by side; a task of a cluster may have one core
        self._detector = detector
        self._source = source
        self._scorer = Scorer(detector, compute, clock)
        self._clock = clock
        self._readers = readers
        self._tile_reader: TileReader | None = None
        self._gates: Gates | None = None
        self._turn = object()
        """Stands in the keys of this slide's requests: what is answered for another slide is dropped."""

    def open(self) -> Opened:
        """Open the slide everywhere and look it over once.

        Raises:
            SlideError: it cannot be read.
            ResolutionError: no usable resolution.
        """
        plan = plan_of(self._detector)
        request = Open(source=self._source, plan=plan)
        if self._readers is None or len(self._readers) == 0:
            self._tile_reader = open_tile_reader(request)
            opened = Opened.by(self._tile_reader)
            self._clock.add(self._tile_reader.clock.taken())
            return opened
        self._readers.renew()
        self._ask(0, None, request)
        opened = self._next()[1]
        again = Open(source=self._source, plan=plan, survey=opened.survey)
        for reader in range(1, len(self._readers)):
            self._ask(reader, None, again)
        for _ in range(1, len(self._readers)):
            self._next()
        return opened

    def run(self, opened: Opened, done: set[int], on_band: OnBand) -> None:
        """Sieve every band that is not done.

        Args:
            opened: what `open` answered.
            done: numbers of bands that need no more work.
            on_band: told each finished band; bands finish in any order.

        Raises:
            SlideError: the slide cannot be read to its end; finished bands were told.
        """
        reader = self._tile_reader
        asking = gates_within(self._scorer, opened.sample)
        self._gates = self._asked(asking) if reader is None else answered(asking, reader, self._scorer)
        if reader is not None:
            for number, band in enumerate(opened.bands):
                if number not in done:
                    tiles = [answered(self._tile(core), reader, self._scorer) for core in band]
                    self._clock.add(reader.clock.taken())
                    on_band(number, self._whole(tiles))
            return
        self._run_readers(opened, done, on_band)

    def close(self) -> None:
        """Release the slide, where it was opened here."""
        if self._tile_reader is not None:
            self._tile_reader.slide.close()

    def _run_readers(self, opened: Opened, done: set[int], on_band: OnBand) -> None:
        """Tiles are read side by side. What has come is judged when nothing else has: while networks are slower than
        readers, the images of several tiles come together and fill a device; while they are not, none waits for others.
        """
        assert self._readers is not None
        cores = {
            (number, place): core
            for number, band in enumerate(opened.bands)
            if number not in done
            for place, core in enumerate(band)
        }
        left = Counter(number for number, _ in cores)
        tiles: dict[int, dict[int, Scored]] = {number: {} for number in left}

        def ended(place: Place, scored: Scored) -> None:
            number = place[0]
            tiles[number][place[1]] = scored
            if len(tiles[number]) == left[number]:
                band = tiles.pop(number)
                on_band(number, self._whole([band[i] for i in sorted(band)]))

        flight = _Flight(cores, len(self._readers), self._tile, self._ask, ended)
        while flight.running:
            come = self._come(wait=False) if flight.pending else self._next()
            if come is None:
                flight.judged(self._scorer)
            else:
                flight.read(*come)

    def _asked(self, asking: Generator[Request | Judge, Any, Gates]) -> Gates:
        """Drive what is asked before the tiles with the first reader."""
        reply: Any = None
        while True:
            try:
                request = asking.send(reply)
            except StopIteration as end:
                return end.value
            if isinstance(request, Judge):
                reply = self._scorer.answers([request])[0]
            else:
                self._ask(0, None, request)
                reply = self._next()[1]

    def _tile(self, core: Region) -> Asking:
        return sieve_tile(self._scorer, core, self._gates)

    def _whole(self, tiles: list[Scored]) -> Scored:
        return Scored.concatenate(tiles, columns_of(self._detector))

    def _ask(self, reader: int, key: Place | None, request: Any) -> None:  # noqa: ANN401 - any request
        assert self._readers is not None
        self._readers.ask(reader, (self._turn, key), request)

    def _next(self) -> tuple[Any, Any]:
        """The next answer for this slide, its seconds counted; an error is raised."""
        answer = None
        while answer is None:
            answer = self._come(wait=True)
        return answer

    def _come(self, *, wait: bool) -> tuple[Any, Any] | None:
        """`_next`, or None where nothing, or only what is of another slide, has come."""
        assert self._readers is not None
        with self._clock.part("waiting for readers"):
            answer = self._readers.answer(wait=wait)
        if answer is None or answer[0][0] is not self._turn:
            return None
        (_, key), reply = answer
        self._clock.add(reply.seconds)
        if isinstance(reply.value, Exception):
            raise reply.value
        return key, reply.value
