"""What a phantom's cells truly are, kept apart from the marks; and the mistakes planted in the marks."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mitosieve.annotation import Annotations, Label
from mitosieve.errors import CohortError, FormatError
from mitosieve.phantom.cell import BACKGROUND, Cell, Kind
from mitosieve.phantom.plan import PhantomConfig
from mitosieve.run.folder import write_atomic

TRUTH_FILE = "truth.csv"
TRUTH_COLUMNS = ("slide_id", "x", "y", "true_label", "kind", "marked_label", "noise", "difficulty")

Texts = NDArray[np.str_]


class Noise(StrEnum):
    """What was done to a cell's mark."""

    NONE = "none"
    FLIPPED = "flipped"
    MISSED = "missed"
    ADDED = "added"


@dataclass(frozen=True, kw_only=True)
class PhantomTruth:
    """Every cell of a phantom as aligned columns: slides in cohort order, marked kinds before background.

    Attributes:
        slide_id: (N,) str.
        center_l0: (N, 2) float64, x then y in level-0 px.
        true_label: (N,) str: a `Label` value, or "background".
        kind: (N,) str, each a `Kind` value: the phase, the sort of imposter, or the sort of background nucleus.
        marked_label: (N,) str: the label that annotations.csv gives this cell; empty where it carries no mark.
        noise: (N,) str, each a `Noise` value. On unlabelled slides it is "none" and nothing is marked.
        difficulty: (N,) float64, 0..1, as in `Cell`: 0 is a textbook cell, 1 could be of either label; background is 0.
    """

    slide_id: Texts
    center_l0: NDArray[np.float64]
    true_label: Texts
    kind: Texts
    marked_label: Texts
    noise: Texts
    difficulty: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.slide_id)
        for field in fields(self):
            expected = (n, 2) if field.name == "center_l0" else (n,)
            if getattr(self, field.name).shape != expected:
                raise ValueError(f"{field.name} is {getattr(self, field.name).shape}, expected {expected}")
        for name, known in (
            ("true_label", {*Label, BACKGROUND}), ("kind", set(Kind)), ("marked_label", {*Label, ""}),
            ("noise", set(Noise)),
        ):  # fmt: skip
            unknown = set(np.unique(getattr(self, name)).tolist()) - {str(item) for item in known}
            if unknown:
                raise ValueError(f"{name} holds {sorted(unknown)}")

    def __len__(self) -> int:
        return len(self.slide_id)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "PhantomTruth":
        return PhantomTruth(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def marks(self) -> Annotations:
        """What annotations.csv holds: the marked rows, in their order, with their marked label."""
        marked = self[self.marked_label != ""]
        return Annotations.of(
            slide_id=marked.slide_id.tolist(),
            center_l0=list(map(tuple, marked.center_l0.tolist())),
            label=marked.marked_label.tolist(),
            source="phantom",
        )


def plant(
    cells: dict[str, tuple[Cell, ...]],
    labelled: frozenset[str],
    config: PhantomConfig,
    generator: np.random.Generator,
) -> PhantomTruth:
    """The truth of a cohort, with the configured mistakes planted in the marks of its labelled slides.

    Cells are drawn uniformly, without replacement, over the whole cohort: round(share * figures) figures and
    round(share * imposters) imposters are flipped, round(share * figures) of the other figures are missed, and
    round(share * figures) background nuclei are added (fewer where there are not so many).

    Args:
        cells: of each slide, in cohort order.
        labelled: ids of the slides that carry marks.
        config: the shares.
        generator: of the mistakes alone.
    """
    rows = [(slide_id, cell) for slide_id, found in cells.items() for cell in found]
    true = np.array([cell.true_label for _, cell in rows], dtype=np.str_)
    open_ = np.array([slide_id in labelled for slide_id, _ in rows], dtype=np.bool_)
    figures = generator.permutation(np.flatnonzero(open_ & (true == Label.MITOTIC_FIGURE.value)))
    imposters = generator.permutation(np.flatnonzero(open_ & (true == Label.IMPOSTER.value)))
    background = generator.permutation(np.flatnonzero(open_ & (true == BACKGROUND)))
    flipped = round(config.flipped * len(figures))
    # two rounded halves could exceed the figures by one
    missed = min(round(config.missed * len(figures)), len(figures) - flipped)
    noise = np.full(len(rows), Noise.NONE.value, dtype="<U8")
    marked = np.where(open_ & (true != BACKGROUND), true, "").astype("<U32")
    to_imposter, to_figure = figures[:flipped], imposters[: round(config.flipped * len(imposters))]
    lost, gained = figures[flipped : flipped + missed], background[: round(config.added * len(figures))]
    noise[to_imposter], marked[to_imposter] = Noise.FLIPPED.value, Label.IMPOSTER.value
    noise[to_figure], marked[to_figure] = Noise.FLIPPED.value, Label.MITOTIC_FIGURE.value
    noise[lost], marked[lost] = Noise.MISSED.value, ""
    noise[gained], marked[gained] = Noise.ADDED.value, Label.MITOTIC_FIGURE.value
    return PhantomTruth(
        slide_id=np.array([slide_id for slide_id, _ in rows], dtype=np.str_),
        center_l0=np.array([(round(c.x_l0, 2), round(c.y_l0, 2)) for _, c in rows], dtype=np.float64).reshape(-1, 2),
        true_label=true,
        kind=np.array([cell.kind.value for _, cell in rows], dtype=np.str_),
        marked_label=marked,
        noise=noise,
        difficulty=np.array([cell.difficulty for _, cell in rows], dtype=np.float64),
    )


def write_truth(folder: Path, truth: PhantomTruth) -> Path:
    """Write truth.csv, whole or not at all."""
    table = pd.DataFrame(
        {
            "slide_id": truth.slide_id,
            "x": [f"{value:.10g}" for value in truth.center_l0[:, 0]],
            "y": [f"{value:.10g}" for value in truth.center_l0[:, 1]],
            "true_label": truth.true_label,
            "kind": truth.kind,
            "marked_label": truth.marked_label,
            "noise": truth.noise,
            "difficulty": [f"{value:.6g}" for value in truth.difficulty],
        },
        columns=list(TRUTH_COLUMNS),
    )
    return write_atomic(folder / TRUTH_FILE, table.to_csv(index=False, lineterminator="\n"))


def read_truth(folder: str | Path) -> PhantomTruth:
    """The truth of a phantom cohort.

    Raises:
        CohortError: the folder holds no truth.csv.
        FormatError: it is not one that `make_phantom` wrote.
    """
    path = Path(folder) / TRUTH_FILE
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise CohortError(
            "is missing: only a phantom knows its truth", where=path, remedy="make one with: mitosieve phantom"
        ) from error
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise FormatError(f"is not a CSV table ({error})", where=path, remedy="make the phantom again") from error
    if tuple(table.columns) != TRUTH_COLUMNS:
        raise FormatError(
            f"has the columns {','.join(table.columns)}", where=path, remedy=f"expected {','.join(TRUTH_COLUMNS)}"
        )
    try:
        return PhantomTruth(
            center_l0=table[["x", "y"]].to_numpy(dtype=np.float64).reshape(-1, 2),
            difficulty=table["difficulty"].to_numpy(dtype=np.float64),
            **{name: table[name].to_numpy(dtype=np.str_) for name in ("slide_id", *TRUTH_COLUMNS[3:7])},
        )
    except ValueError as error:
        raise FormatError(f"holds a wrong value ({error})", where=path, remedy="make the phantom again") from error
