"""A phantom cohort on disk: images, slides.csv, annotations.csv, and the truth apart."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mitosieve.cohort.cohort import Cohort, SlideEntry
from mitosieve.errors import CohortError
from mitosieve.geometry import mm2_from_px2
from mitosieve.phantom.arrangement import Census
from mitosieve.phantom.canvas import MPP
from mitosieve.phantom.cell import Cell
from mitosieve.phantom.plan import PhantomConfig
from mitosieve.phantom.scanner import SCANNERS, encode
from mitosieve.phantom.specimen import Patient, draw_slide
from mitosieve.phantom.truth import plant, write_truth
from mitosieve.run.folder import write_atomic, write_json

PHANTOM_FILE = "phantom.json"

_FOR_CASE, _FOR_SLIDE, _FOR_RATES, _FOR_NOISE = range(4)


@dataclass(frozen=True, kw_only=True)
class _Order:
    """One slide to be drawn: its row, the case's number, its own number, and how many marked cells it gets."""

    entry: SlideEntry
    case: int
    number: int
    census: Census


def make_phantom(
    folder: str | Path,
    config: PhantomConfig,
    generator: np.random.Generator,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Draw a synthetic H&E cohort and save it; slides.csv comes last, so that a cohort exists only when whole.

    One number is drawn from `generator`; every case and slide has its own generator made of it and its place in the
    cohort, so the same configuration and seed give the same bytes. Scores on a phantom say nothing of accuracy on
    tissue: it serves to check that training, mining and scoring do what they say.

    Args:
        folder: new or empty.
        config: what to draw.
        generator: the only source of chance.
        progress: called after each slide with the slides done and their total.

    Returns:
        The saved cohort, marks with the planted mistakes; what is true stands in truth.csv (`read_truth`).

    Raises:
        CohortError: the folder holds something already.
        StorageError: it cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CohortError("holds something already", where=folder, remedy="name a new or empty folder for the phantom")
    root = int(generator.integers(2**63))
    orders = tuple(_orders(config, root))
    cells: dict[str, tuple[Cell, ...]] = {}
    for done, order in enumerate(orders, start=1):
        cells[order.entry.slide_id] = _draw(folder, order, config, root)
        if progress is not None:
            progress(done, len(orders))
    entries = tuple(order.entry for order in orders)
    labelled = frozenset(entry.slide_id for entry in entries if entry.labelled)
    truth = plant(cells, labelled, config, _child(root, _FOR_NOISE))
    write_truth(folder, truth)
    write_json(folder / PHANTOM_FILE, {"config": asdict(config), "root": root, "seed": _seed_of(generator)})
    cohort = Cohort(folder, entries, truth.marks())
    cohort.save()
    return cohort


def _child(root: int, purpose: int, number: int = 0) -> np.random.Generator:
    return np.random.default_rng([root, purpose, number])


def _seed_of(generator: np.random.Generator) -> int | None:
    """The number a generator was made with, where it was made with one."""
    sequence = generator.bit_generator.seed_seq
    entropy = sequence.entropy if isinstance(sequence, np.random.SeedSequence) else None
    return entropy if isinstance(entropy, int) else None


def _orders(config: PhantomConfig, root: int) -> Iterator[_Order]:
    """All slides in order, case by case; mitotic rates spread evenly from half to one and a half of the mean."""
    generator = _child(root, _FOR_RATES)
    rates = generator.permutation((np.arange(config.cases) + 0.5) / config.cases + 0.5)
    w, h = config.size_px
    area = mm2_from_px2(w * h, MPP)
    for case in range(config.cases):
        for part in range(config.slides_per_case):
            slide_id = f"case{case + 1:02d}_slide{part + 1}"
            entry = SlideEntry(
                slide_id=slide_id,
                path=f"images/{slide_id}.jpg",
                case_id=f"case{case + 1:02d}",
                domain=SCANNERS[case % config.scanners].name,
                mpp=MPP,
                labelled=case < config.cases - config.unlabelled_cases,
                width_l0=w,
                height_l0=h,
            )
            census = Census(
                figures=_whole(config.figures_per_mm2 * area * float(rates[case]), generator),
                imposters=_whole(config.imposters_per_mm2 * area, generator),
                difficulty=config.difficulty,
            )
            yield _Order(entry=entry, case=case, number=case * config.slides_per_case + part, census=census)


def _whole(expected: float, generator: np.random.Generator) -> int:
    """One of the two whole numbers around `expected`, so that the mean is `expected`."""
    return int(expected + generator.random())


def _draw(folder: Path, order: _Order, config: PhantomConfig, root: int) -> tuple[Cell, ...]:
    """Draw one slide, write its image, and tell its cells."""
    scanner = SCANNERS[order.case % config.scanners]
    patient = Patient.draw(scanner, _child(root, _FOR_CASE, order.case))
    pixels, cells = draw_slide(patient, config.size_px, order.census, _child(root, _FOR_SLIDE, order.number))
    write_atomic(folder / order.entry.path, encode(pixels, scanner))
    return cells
