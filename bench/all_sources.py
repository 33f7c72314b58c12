"""Every set of real data as one cohort, with its folds: `python bench/all_sources.py DATA OUT`.

Terms: research use; several sets are non-commercial. Neither the cohort nor its images are redistributed.

DATA holds a folder a set, with its `labels.csv` or, for `unlabelled`, images alone. In slides.csv `source` is the set
and `domain` tissue and scanner. Crops are slides of their own: what is not marked in them is background, and where they
are padded with black their `roi` leaves it out. Two files of folds are written beside the cohort:

    patients.json   A, B, C by patient, as in mitos14/folds.csv, and `brecahad`, another laboratory and camera. A
                    patient's frames of other scanners go with it; crops and unlabelled tiles are trained on in all.
                    `everything`, for a detector that is to be used, tests patients of `tupac_prlab` alone: crops.
    sources.json    a scanner, laboratory or tumour is tested by a detector that has not seen it.

BreCaHAD is trained on in `everything` alone, and the crops whose patients nobody knows (`atnorm_br`) are nothing but
trained on. Where all frames are tested there are none left that could choose a threshold: such folds have no
validation case.
"""

import argparse
import csv
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mitosieve.cohort.area import searched_area
from mitosieve.cohort.cohort import SLIDES_FILE, Cohort, SlideEntry
from mitosieve.cohort.importing import import_cohort
from mitosieve.cohort.split import Fold, Split
from mitosieve.cohort.table import read_table
from mitosieve.errors import MitosieveError
from mitosieve.run.folder import write_atomic

UNKNOWN_PATIENTS = "atnorm_br"
HELD = "brecahad"
LOOK_ALIKES = "tupac_prlab"
OTHER_SCANNER = ("icpr12", "aperio_a03")
HOME = "mitos14"
CHOOSING = ("H07", "H11", "H14")
"""Patients that choose thresholds where no patient of `HOME` is tested."""

COLUMNS = ("image", "slide_id", "case", "domain", "mpp", "roi", "x", "y", "label", "score", "source")


@dataclass(frozen=True, kw_only=True)
class Marked:
    """A set with a `labels.csv`.

    Attributes:
        name: of its folder, and of the source.
        images: folder of its images, below its own.
        domain: of slides whose row names none; before a scanner or tumour that a row names.
        mpp: um per px of slides whose row states none.
        crops: whether images are crops, which may be padded.
        prefix: before an image's name, where it says too little.
    """

    name: str
    images: str
    domain: str
    mpp: float = 0.25
    crops: bool = False
    prefix: str = ""


SETS = (
    Marked(name="mitos14", images="frames", domain="human breast Hamamatsu NanoZoomer 2.0-HT", mpp=0.2273),
    Marked(name="icpr12", images="frames", domain="human breast Aperio XT", mpp=0.2456),
    Marked(name="aperio_a03", images="frames", domain="human breast Aperio XT", mpp=0.2456),
    Marked(name="amibr", images="patches", domain="human breast", crops=True),
    Marked(name="tupac_prlab", images="patches", domain="human breast tupac16", crops=True),
    Marked(name="atnorm_md", images="patches", domain="", crops=True, prefix="atnorm_md_"),
    Marked(name="atnorm_br", images="patches", domain="human breast TCGA", crops=True, prefix="atnorm_br_"),
    Marked(name="brecahad", images="frames", domain="human breast BreCaHAD", prefix="brecahad_"),
)
UNLABELLED, UNLABELLED_DOMAIN = "unlabelled", "human seven organs TCGA"


def domain_of(one: Marked, row: dict[str, str]) -> str:
    """Tissue and scanner of a row, as far as the set tells them."""
    said = (row["domain"], row["scanner"])
    return " ".join(part for part in (one.domain, *said) if part)


def area_of(path: Path) -> str | None:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SystemExit(f"{path}: cannot be read\nremedy: fetch the set again")
    return searched_area(np.asarray(pixels, dtype=np.uint8))


def points_of(one: Marked, data: Path) -> str:
    """A set's labels as the format `points` has them; images without a mark have a row of their own."""
    optional = ("image", "patch", "domain", "scanner", "mpp", "score")
    rows = read_table(data / one.name / "labels.csv", required=("case", "x", "y", "label"), optional=optional)
    folder = data / one.name / one.images
    lines: list[tuple[str, ...]] = []
    areas: dict[str, str | None] = {}
    for row in rows:
        values = row.values
        image = values["image"] or values["patch"]
        if image not in areas:
            areas[image] = area_of(folder / image) if one.crops else ""
        area = areas[image]
        if area is None:
            continue
        told = (values["case"], domain_of(one, values), values["mpp"] or str(one.mpp), area)
        mark = (values["x"], values["y"], values["label"], values["score"], f"{one.name}/labels.csv")
        lines.append((image, one.prefix + Path(image).stem, *told, *mark))
    if not one.crops:
        case = {values.values["case"] for values in rows}
        bare = sorted(path.name for path in folder.iterdir() if path.name not in areas)
        if bare and len(case) > 1:
            raise SystemExit(f"{folder / bare[0]}: has no row in labels.csv, so nobody knows its patient")
        lines += [
            (name, one.prefix + Path(name).stem, *case, one.domain, str(one.mpp), "", "", "", "", "", "")
            for name in bare
        ]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *lines])
    return text.getvalue()


def make_cohort(data: Path, out: Path) -> Cohort:
    """All sets, one after another, as a cohort in `out`."""
    with tempfile.TemporaryDirectory() as scratch:
        for one in SETS:
            points = write_atomic(Path(scratch) / f"{one.name}.csv", points_of(one, data))
            report = import_cohort("points", points, out, images=data / one.name / one.images, set_name=one.name)
            for warning in report.warnings:
                print(f"{one.name}: {warning}")
    report = import_cohort("images", data / UNLABELLED, out, mpp=0.25, set_name=UNLABELLED, domain=UNLABELLED_DOMAIN)
    return report.cohort


def cases(cohort: Cohort, wanted: Callable[[SlideEntry], bool]) -> frozenset[str]:
    return frozenset(entry.case_id for entry in cohort.slides if wanted(entry))


def a_fold(cohort: Cohort, test: frozenset[str], validation: frozenset[str], left_out: frozenset[str]) -> Fold:
    """A fold that trains on all that is in no other part of it."""
    rest = frozenset(cohort.cases) - test - validation - left_out
    parts = (tuple(sorted(part)) for part in (rest, validation, test, left_out))
    return Fold(**dict(zip(("train", "validation", "test", "left_out"), parts, strict=True)))


def by_patient(cohort: Cohort, folds: Path) -> Split:
    """The folds of the frames, with everything else in train; and the other laboratory."""
    given, other = Split.from_table(folds), cases(cohort, lambda entry: entry.source == HELD)
    made = {
        name: a_fold(cohort, frozenset(fold.test), frozenset(fold.validation), other)
        for name, fold in given.folds.items()
    }
    made[HELD] = a_fold(cohort, other, frozenset(CHOOSING), frozenset())
    crops = cases(cohort, lambda entry: entry.source == LOOK_ALIKES)
    made["everything"] = a_fold(cohort, crops, frozenset(), frozenset())
    return Split(folds=made)


def by_source(cohort: Cohort) -> Split:
    """One scanner, laboratory or tumour out, each tested once.

    The patients of `OTHER_SCANNER` are tested there with all their frames (read the row of the scanner's domain) and
    touched in no way where `HOME` is tested.
    """
    other = cases(cohort, lambda entry: entry.source == HELD)
    scanned_twice = cases(cohort, lambda entry: entry.source in OTHER_SCANNER)
    at_home = cases(cohort, lambda entry: entry.source == HOME)
    choosing = frozenset(CHOOSING)
    folds = {
        "aperio-xt": a_fold(cohort, scanned_twice, choosing, other),
        "nanozoomer": a_fold(cohort, at_home - scanned_twice, frozenset(), other | scanned_twice),
    }
    crops = [one.name for one in SETS if one.crops and one.name != UNKNOWN_PATIENTS]
    for domain in sorted({entry.domain for entry in cohort.slides if entry.source in crops}):
        test = cases(cohort, lambda entry, domain=domain: entry.source in crops and entry.domain == domain)
        folds[domain.replace(" ", "-")] = a_fold(cohort, test, choosing, other)
    return Split(folds=folds)


def print_counts(cohort: Cohort) -> None:
    columns = ("cases", "slides", "labelled", "figures", "imposters")
    print("source", "domain", *columns, "figures with agreement", sep="\t")
    for source, domain in sorted({(entry.source, entry.domain) for entry in cohort.slides}):
        own = cohort.of_domain(domain)
        ids = [entry.slide_id for entry in own.slides if entry.source == source]
        part = Cohort(
            cohort.folder,
            tuple(entry for entry in own.slides if entry.source == source),
            own.annotations[np.isin(own.annotations.slide_id, ids)],
        )
        counts = part.counts()
        known = int(np.isfinite(part.annotations.score).sum())
        print(source, domain, *(counts[name] for name in columns), known, sep="\t")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the sets")
    parser.add_argument("out", type=Path, help="cohort folder to make")
    given = parser.parse_args()
    if (given.out / SLIDES_FILE).exists():
        parser.error(f"{given.out} is a cohort already: name another folder")
    cohort = make_cohort(given.data, given.out)
    for name, split in (
        ("patients", by_patient(cohort, given.data / HOME / "folds.csv")),
        ("sources", by_source(cohort)),
    ):
        split.check(cohort, where=name)
        print(split.save(given.out / f"{name}.json"))
        for fold, parts in split.folds.items():
            print(fold, *(f"{len(part)} cases" for part in (parts.train, parts.validation, parts.test)), sep="\t")
    print_counts(cohort)
    print(given.out)


if __name__ == "__main__":
    try:
        main()
    except MitosieveError as error:
        raise SystemExit(str(error)) from error
