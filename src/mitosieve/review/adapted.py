"""A detector folder with the threshold that decisions about its result ask for."""

from dataclasses import replace
from pathlib import Path

from mitosieve.errors import InputError
from mitosieve.models.learned_cases import learned_cases
from mitosieve.review.adapt import SEED, Adaptation, adapt
from mitosieve.review.judged import judged_of
from mitosieve.review.result import FoundResult
from mitosieve.run import layout
from mitosieve.run.folder import write_json
from mitosieve.run.seed import derive_generator
from mitosieve.sieve.detector import Detector


def adapt_detector(named: str | Path, result: FoundResult, out: Path, *, readers: tuple[str, ...] = ()) -> Adaptation:
    """Save the detector with what the decisions about its result say, as a new detector folder.

    Args:
        named: detector, as `Detector.load` takes it; it stays as it is.
        result: made by it.
        out: new or empty.
        readers: whose decisions count; none is all.

    Raises:
        InputError: the result is of another detector, `out` holds something, or as `adapt`.
        DetectorError: there is no whole detector.
        StorageError: `out` cannot be written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("holds something already", where=out, remedy="name a new or empty folder for --out")
    result.require_decisions()
    detector = Detector.load(named)
    if detector.digest != result.detector_hash:
        raise InputError(
            f"was made by another detector ({result.detector})",
            where=result.folder,
            remedy="name the detector that found it, or detect again with this one",
        )
    judged = judged_of(result, readers)
    generator = derive_generator(SEED, "adapt")
    adaptation = adapt(judged, result.detections.score, detector.config.threshold, generator)
    moved = detector.with_points(adaptation.points, adaptation.calibration)
    made_by = f"{detector.config.made_by}; threshold of {len(judged)} decisions".strip("; ")
    named_anew = replace(moved, config=moved.config.model_copy(update={"made_by": made_by}))
    learned = learned_cases(named)
    named_anew.save(out)
    learned.save(out)
    facts = {"readers": list(judged.readers), "left_out": judged.left_out, "added_figures": judged.missed}
    write_json(out / layout.ADAPTED, {**adaptation.to_json(), **facts, "detector_hash": detector.digest})
    return adaptation
