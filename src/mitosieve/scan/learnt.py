"""What a detector learnt from and how well it did: by its card, where it comes with the package, or by its run.

Nothing is guessed: what neither says is not known, and scores of another detector, or of the very slides that are being
done, are not taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitosieve.count.trust import Trust
from mitosieve.errors import MitosieveError
from mitosieve.models.box import detector_folder, find
from mitosieve.models.card import Card, read_card
from mitosieve.run import layout
from mitosieve.run.folder import hash_file, read_json
from mitosieve.score.judged import read_metrics
from mitosieve.sieve.config import BALANCED
from mitosieve.sieve.detector import Detector


@dataclass(frozen=True, kw_only=True)
class KnownDetector:
    """A detector at the threshold of a job.

    Attributes:
        detector: loaded.
        trust: what is known of it.
        point: name of its operating point; None where the threshold is a number of the user's.
    """

    detector: Detector
    trust: Trust
    point: str | None

    @property
    def knows_its_slides(self) -> bool:
        """Whether it says what its training's slides are like, in one way at least: of one slide it cannot."""
        return self.detector.reference is not None and bool(self.detector.reference.known)

    @classmethod
    def load(
        cls, named: Path | str, *, threshold: float | None = None, point: str | None = None, out: Path | None = None
    ) -> "KnownDetector":
        """Load a detector at a threshold, at one of its named points, or as it came.

        Args:
            named: its folder, its run, or its name in the package.
            threshold: instead of its own.
            point: name of one that it has, not beside a threshold.
            out: see `trust_of`.

        Raises:
            DetectorError: missing, incomplete or altered.
            InputError: it has no such point.
        """
        as_came = Detector.load(named)
        detector = as_came if threshold is None else as_came.with_threshold(threshold)
        detector = detector if point is None else detector.at_point(point)
        trust = trust_of(named, detector, own=as_came.config.threshold, out=out)
        return cls(detector=detector, trust=trust, point=point or (BALANCED if threshold is None else None))


@dataclass(frozen=True, kw_only=True)
class _Tested:
    f1: float | None = None
    interval: tuple[float, float] | None = None
    on: str = ""


def trust_of(named: Path | str, detector: Detector, *, own: float, out: Path | None = None) -> Trust:
    """What is known of a detector.

    Args:
        named: its folder, its run, or its name in the package.
        detector: loaded, at the threshold in use.
        own: the threshold that it came with.
        out: folder of the job; scores that lie there are of the slides being done.
    """
    folder = detector_folder(named)
    card = _card_of(folder)
    learnt = None if detector.reference is None else detector.reference.learnt
    if card is not None:
        words, synthetic, tested = _words_of(card, folder.name), False, _tested_of(card, own)
    else:
        words = "" if learnt is None else learnt.words
        synthetic = None if learnt is None else learnt.is_synthetic
        tested = _tested_in(folder, out)
    frame = detector.config.frame.mpp
    return Trust(
        detector=(find(named) if isinstance(named, str) else None) or _name(folder),
        learnt_from=words,
        is_synthetic=synthetic,
        f1=tested.f1,
        f1_interval=tested.interval,
        tested_on=tested.on,
        mpp=min(stage.mpp_in(frame) for stage in detector.config.stages),
        threshold=detector.config.threshold,
        own_threshold=own,
        start_is_synthetic=False if learnt is None or card is not None else learnt.start_is_synthetic,
    )


def stated_speed(named: Path | str) -> tuple[float, str] | None:
    """Mm2 a second that a detector's card states first, and of what machine; None where none does."""
    card = _card_of(detector_folder(named))
    return None if card is None or not card.speed else (card.speed[0].mm2_per_s, card.speed[0].machine)


def _name(folder: Path) -> str:
    """Of the run that the detector is of, else of its folder."""
    whole = folder.resolve()
    return whole.parent.name if whole.name == layout.DETECTOR else whole.name


def _card_of(folder: Path) -> Card | None:
    path = folder / layout.CARD_DATA
    return read_card(path) if path.exists() else None


LISTED = 2
"""Sources that are described one by one; of more their names alone are told, and the card says the rest."""


def _words_of(card: Card, name: str) -> str:
    rows = [row for row in card.data if row.used == "training"]
    if len(rows) <= LISTED:
        return "; ".join(
            f"{row.source} ({row.what}), {_number(_patients(row.patients), 'patient')}, "
            f"{_number(row.slides, 'slide')}{'' if row.figures is None else ', ' + _number(row.figures, 'figure')}"
            for row in rows
        )
    patients = {name for row in rows for name in row.patients if _patients(row.patients) is not None}
    more = " and unknown ones" if any(_patients(row.patients) is None for row in rows) else ""
    return (
        f"{', '.join(row.source for row in rows)} (`mitosieve models {name}` says what each is), "
        f"{_number(len(patients), 'patient')}{more}, {_number(sum(row.slides for row in rows), 'slide')}, "
        f"{_number(sum(row.figures or 0 for row in rows), 'figure')}"
    )


def _patients(names: Sequence[str]) -> int | None:
    return None if tuple(names) == ("unknown",) else len(names)


def _tested_of(card: Card, own: float) -> _Tested:
    """The card's first score: of the source that the card's writer put first."""
    if not card.scores:
        return _Tested()
    score = card.scores[0]
    on = f"{_number(score.figures, 'figure')} of {_number(score.patients, 'patient')} of {score.source}"
    return _Tested(f1=score.f1, interval=score.f1_interval, on=f"{on}, at threshold {own:.3g}")


def _tested_in(folder: Path, out: Path | None) -> _Tested:
    """The score of the run's test cases, where it is of this detector: a folder called `test` may hold anything."""
    run = folder.resolve().parent
    test = run / layout.TEST
    if out is not None and out.resolve() == test:
        return _Tested()
    try:
        request: dict[str, Any] = read_json(test / layout.REQUEST, {})
        if request.get("detector_hash") != hash_file(folder / layout.DETECTOR_CONFIG):
            return _Tested()
        metrics = read_metrics(test / layout.METRICS)
        if metrics.get("unseen") or not _is_of_test_cases(read_json(run / layout.RUN, {}), request, metrics):
            return _Tested()  # slides that it failed on count as missed: no score of what it finds
        pooled = metrics["pooled"]
    except (MitosieveError, OSError):
        return _Tested()
    ends: list[float | None] = pooled.get("f1_interval") or [None, None]
    low, high = ends
    on = f"{_number(pooled['figures'], 'figure')} of {_number(pooled['cases'], 'patient')} of its test part"
    at = request.get("threshold")
    return _Tested(
        f1=pooled["f1"],
        interval=None if low is None or high is None else (low, high),
        on=on if at is None else f"{on}, at threshold {at:.3g}",
    )


def _is_of_test_cases(made: dict[str, Any], request: dict[str, Any], metrics: dict[str, Any]) -> bool:
    """Whether what was done and scored are test cases of the fold that a run (`made`, its run.json) was trained on."""
    fold: dict[str, Any] = made.get("provenance", {}).get("fold") or {}
    scored = {row.get("case_id") for row in metrics["per_case"]}
    asked = (request.get("part"), request.get("fold"))
    return asked == (layout.TEST, fold.get("name")) and bool(scored) and scored <= set(fold.get("test", ()))


def _number(value: int | None, noun: str) -> str:
    return f"unknown {noun}s" if value is None else f"{value:,} {noun}{'' if value == 1 else 's'}"
