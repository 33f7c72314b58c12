"""Puts a trained detector into the package: `python bench/ship.py DETECTOR NAME --card card.toml`.

DETECTOR is a run or a detector folder; card.toml is written by hand (docs/models.md says what belongs there). What is
shipped is the detector as it is loaded and saved again, its card, and the hashes of all of it, in place of what was
there under that name. Weights are kept in half precision, which is half the size. The box is refused where it would
grow beyond its limit, and is then as it was.

    --out-of-fold FOLDER...   evaluated detections of networks that have not seen their cases (FOLD/test of a
                              `crossval`), with --cohort. They choose the operating points and the calibration, and
                              what these gave there goes into the card
    --calibration KIND        logistic (two numbers), isotonic, or none: the error of the scores themselves alone
    --box FOLDER              instead of the package that this Python imports
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import InputError, MitosieveError
from mitosieve.models.box import BOX, LIMIT_BYTES, folder_of, seal, size_bytes
from mitosieve.models.card import Calibrated, Card, PointScore, ReliabilityBin, read_card, write_card
from mitosieve.score.calibration import FITS, expected_calibration_error, reliability
from mitosieve.score.operating import operating_points
from mitosieve.score.out_of_fold import calibration_errors, read_out_of_fold
from mitosieve.score.scored import Scored
from mitosieve.sieve.detector import Detector


def ship(detector: Detector, card: Card, name: str, box: Path) -> Path:
    """Put a detector into a box, whole or not at all.

    Raises:
        InputError: a name that is none, or a box that would become too heavy.
    """
    if not re.fullmatch("[a-z][a-z0-9-]*", name) or name == "default":
        raise InputError(f"'{name}' is no name for a detector", remedy="use small letters, digits and hyphens")
    with tempfile.TemporaryDirectory(dir=box, prefix=".ship-") as place:
        made = detector.save(Path(place) / name, half=True)
        write_card(made, card)
        seal(made)
        others = sum(
            size_bytes(path) for path in box.iterdir() if path.is_dir() and path.name not in (name, made.parent.name)
        )
        total = others + size_bytes(made)
        if total > LIMIT_BYTES:
            raise InputError(
                f"the box would hold {total / 1e6:.1f} MB; {LIMIT_BYTES / 1e6:.0f} MB is the limit",
                where=box,
                remedy="ship fewer networks, or smaller ones",
            )
        shutil.rmtree(box / name, ignore_errors=True)
        made.rename(box / name)
    return folder_of(name, box)


def with_out_of_fold(detector: Detector, card: Card, scored: Scored, kind: str) -> tuple[Detector, Card]:
    """Operating points and calibration from out-of-fold detections, in detector and card."""
    chosen = operating_points(scored.sweep())
    is_true = scored.gain > 0
    bins = reliability(scored.score, is_true)
    fit = FITS.get(kind)
    cases = sorted({row.case_id for row in scored.slides})
    where = f"Out-of-fold detections on {len(cases)} cases ({', '.join(cases)})."
    points = [
        PointScore(name=name, f1=round(at.f1, 6), precision=round(at.precision, 6), recall=round(at.recall, 6))
        for name, at in chosen.items()
    ]
    told = Calibrated(
        where=where,
        error=round(expected_calibration_error(bins), 6),
        error_calibrated=None if fit is None else round(calibration_errors(scored, fit).calibrated, 6),
        bins=tuple(
            ReliabilityBin(low=b.low, high=b.high, number=b.number, stated=round(b.stated, 6), true=round(b.true, 6))
            for b in bins
        ),
    )
    ready = detector.with_points(
        {name: at.threshold for name, at in chosen.items()}, None if fit is None else fit(scored.score, is_true)
    )
    return ready, card.model_copy(update={"points": tuple(points), "points_where": where, "calibration": told})


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("name")
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--out-of-fold", type=Path, nargs="+", default=[])
    parser.add_argument("--cohort", type=Path)
    parser.add_argument("--calibration", choices=[*FITS, "none"], default="logistic")
    parser.add_argument("--box", type=Path, default=BOX)
    asked = parser.parse_args()
    if bool(asked.out_of_fold) != (asked.cohort is not None):
        parser.error("--out-of-fold and --cohort go together")
    try:
        detector, card = Detector.load(asked.detector), read_card(asked.card)
        if asked.out_of_fold:
            scored = read_out_of_fold(asked.out_of_fold, Cohort.load(asked.cohort))
            detector, card = with_out_of_fold(detector, card, scored, asked.calibration)
        folder = ship(detector, card, asked.name, asked.box)
    except MitosieveError as error:
        sys.exit(f"ship: {error}")
    print((folder / "CARD.md").read_text())
    print(f"{folder}: {size_bytes(folder) / 1e6:.2f} MB of {size_bytes(asked.box) / 1e6:.2f} MB in the box")


if __name__ == "__main__":
    main()
