"""What a detector found, in columns, and suppression of repeats by distance in um. Knows nothing of networks."""

import hashlib
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mitosieve.compiled import compiled
from mitosieve.upstairs import notebook

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, kw_only=True, repr=False)
class Detections:
    """Found cells as aligned columns.

    Attributes:
        slide_id: (N,) str.
        center_l0: (N, 2) float64, x then y in level-0 px.
        score: (N,) float64 in 0..1, the score that thresholds and curves use; not calibrated.
        is_figure: (N,) bool, whether the score reached the detector's operating threshold. Rows below it are kept for
            curves (AP, FROC, threshold choice) and are not counted as found.
        stage_names: names of the detector's stages, in order.
        stage_score: (N, S) float64, the score of each stage; NaN where a stage did not see the cell.
    """

    slide_id: NDArray[np.str_]
    center_l0: NDArray[np.float64]
    score: NDArray[np.float64]
    is_figure: NDArray[np.bool_]
    stage_names: tuple[str, ...]
    stage_score: NDArray[np.float64]

    def __post_init__(self) -> None:
        n = len(self.slide_id)
        expected = {"center_l0": (n, 2), "score": (n,), "is_figure": (n,), "stage_score": (n, len(self.stage_names))}
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} is {getattr(self, name).shape}, expected {shape}")

    @classmethod
    def of(
        cls,
        *,
        slide_id: Iterable[str],
        center_l0: Iterable[tuple[float, float]] | NDArray[np.floating],
        score: Iterable[float] | NDArray[np.floating],
        threshold: float = 0.0,
        stage_names: tuple[str, ...] = (),
        stage_score: NDArray[np.floating] | None = None,
    ) -> "Detections":
        """Build from plain sequences; a row is a figure where its score is at least `threshold`."""
        ids = np.array(list(slide_id), dtype=np.str_)
        n = len(ids)
        centers = center_l0 if isinstance(center_l0, np.ndarray) else np.array(list(center_l0), dtype=np.float64)
        scores = np.asarray(score if isinstance(score, np.ndarray) else list(score), dtype=np.float64).reshape(n)
        stages = np.zeros((n, len(stage_names))) if stage_score is None else stage_score
        return cls(
            slide_id=ids,
            center_l0=np.asarray(centers, dtype=np.float64).reshape(n, 2),
            score=scores,
            is_figure=scores >= threshold,
            stage_names=stage_names,
            stage_score=np.asarray(stages, dtype=np.float64).reshape(n, len(stage_names)),
        )

    @classmethod
    def empty(cls, stage_names: tuple[str, ...] = ()) -> "Detections":
        return cls.of(slide_id=[], center_l0=[], score=[], stage_names=stage_names)

    @classmethod
    def concatenate(cls, parts: Iterable["Detections"]) -> "Detections":
        """All rows of all parts, in their order; the parts must have the same stages."""
        items = list(parts)
        if not items:
            return cls.empty()
        if len({p.stage_names for p in items}) > 1:
            raise ValueError(f"detections of different stages: {sorted({p.stage_names for p in items})}")
        return cls(
            slide_id=np.concatenate([p.slide_id for p in items]),
            center_l0=np.concatenate([p.center_l0 for p in items]),
            score=np.concatenate([p.score for p in items]),
            is_figure=np.concatenate([p.is_figure for p in items]),
            stage_names=items[0].stage_names,
            stage_score=np.concatenate([p.stage_score for p in items]),
        )

    def __len__(self) -> int:
        return len(self.slide_id)

    def __getitem__(self, rows: NDArray[np.bool_] | NDArray[np.intp] | slice) -> "Detections":
        return Detections(
            slide_id=self.slide_id[rows],
            center_l0=self.center_l0[rows],
            score=self.score[rows],
            is_figure=self.is_figure[rows],
            stage_names=self.stage_names,
            stage_score=self.stage_score[rows],
        )

    def of_slide(self, slide_id: str) -> "Detections":
        return self[self.slide_id == slide_id]

    def at_threshold(self, threshold: float) -> "Detections":
        """The same rows judged by another operating threshold."""
        return replace(self, is_figure=self.score >= threshold)

    @property
    def figures(self) -> "Detections":
        """The rows that reached the operating threshold."""
        return self[self.is_figure]

    def __repr__(self) -> str:
        slides = len(set(self.slide_id.tolist()))
        below = len(self) - int(self.is_figure.sum())
        return f"Detections({len(self) - below} figures and {below} candidates on {slides} slides)"

    def _repr_html_(self) -> str:
        return notebook("tables").html_of_detections(self)

    @classmethod
    def load(cls, path: "str | Path") -> "Detections":
        """Those of a folder of `mitosieve detect`, or of a CSV.

        Raises:
            FormatError: there is none, or it is broken.
        """
        return notebook("tables").load_detections(path)

    def to_frame(self) -> Any:  # noqa: ANN401 - pandas is not imported here
        """A pandas DataFrame with the columns of detections.csv."""
        return notebook("tables").frame_of(self)

    def to_geojson(self, path: "str | Path | None" = None) -> dict[str, Any]:
        """As QuPath reads them: of one slide; written to `path` where it is given (`notebook.tables.geojson_of`).

        Ids of features are their own: those of `detect`'s files are made of the detector too, which is not known here.
        """
        return notebook("tables").geojson_of(self, path)

    def show(self, slide: Any, **choices: Any) -> Any:  # noqa: ANN401 - a path or Slide; a matplotlib Figure
        """Pictures of those of one slide, strongest first (`notebook.pictures.show_detections`)."""
        return notebook("pictures").show_detections(self, slide, **choices)


_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "mitosieve/detection")


def detection_ids(detections: Detections, detector: str) -> list[str]:
    """The id of each detection, equal in every output and every repetition: a hash of detector, slide and place.

    Args:
        detections: of any slides.
        detector: hash of the detector that found them (`detector_hash` of detect.json); empty where nobody knows it.

    Returns:
        UUIDs of version 5 (RFC 9562), which QuPath takes for its objects. The place counts to 1/1000 px, as tables keep
        it, so that a table read again gives the same ids.
    """
    center = detections.center_l0  # written as tables write it: rounded before, a last 5 goes the other way
    places = np.where((center <= 0) & (center > -0.0005), 0.0, center)  # no negative zero
    columns = zip(detections.slide_id.tolist(), *places.T.tolist(), strict=True)
    return [_uuid5(f"{detector}|{slide}|{x:.3f}|{y:.3f}") for slide, x, y in columns]


def _uuid5(name: str) -> str:
    """str(uuid.uuid5(_NAMESPACE, name)), in a third of the time: slides have a million detections."""
    digest = hashlib.sha1(_NAMESPACE.bytes + name.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


_FEW = 300
"""So many points Python visits in less time than the compiled function takes to load."""


def suppress(center_um: NDArray[np.floating], score: NDArray[np.floating], *, radius_um: float) -> NDArray[np.int64]:
    """For each point, the row of the kept point that stands for it; a kept point stands for itself.

    Points are visited by falling score, equal scores by row. A point closer than `radius_um` to a kept point joins the
    nearest kept one (ties: the higher-ranked); else it is kept. So kept points are at least `radius_um` apart, and
    suppressing the kept points again changes nothing. Time grows linearly with the points at
    fixed density (grid hashing).

    Args:
        center_um: (N, 2) in um, any origin.
        score: (N,).
        radius_um: below this distance two points are one; at exactly this distance they are two. Zero keeps all.

    Returns:
        (N,) int64 rows; `np.flatnonzero(result == np.arange(N))` are the kept ones.
    """
    n = len(score)
    if radius_um <= 0 or n == 0:
        return np.arange(n, dtype=np.int64)
    centers = np.ascontiguousarray(center_um, dtype=np.float64)
    order = np.argsort(-np.asarray(score, dtype=np.float64), kind="stable")
    corner = centers.min(axis=0)
    extent = centers.max(axis=0) - corner
    side = max(float(radius_um), float(np.sqrt(extent[0] * extent[1] / (8 * n))))  # not many more cells than points
    cell = np.floor((centers - corner) / side).astype(np.int64) + 1
    columns, rows = int(cell[:, 0].max()) + 2, int(cell[:, 1].max()) + 2
    key = cell[:, 1] * columns + cell[:, 0]
    start = np.zeros(columns * rows + 1, dtype=np.int64)
    np.cumsum(np.bincount(key, minlength=columns * rows), out=start[1:])
    by_cell = np.argsort(key, kind="stable")
    visit = _suppress.plain if n <= _FEW else _suppress
    return visit(centers, order, key, by_cell, start, columns, float(radius_um))


@compiled()
def _suppress(  # noqa: PLR0913 - compiled: arrays, not objects
    center: NDArray[np.float64],
    order: NDArray[np.int64],
    key: NDArray[np.int64],
    by_cell: NDArray[np.int64],
    start: NDArray[np.int64],
    columns: int,
    radius: float,
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Visit by rank; look for kept points in the 3 x 3 cells around, where those of a row of cells lie side by side.

    Points are held in the order of their cells, so that neighbours in space are neighbours in memory.
    """
    n = len(order)
    place, x, y, rank = np.empty(n, np.int64), np.empty(n), np.empty(n), np.empty(n, np.int64)
    for i in range(n):
        place[by_cell[i]] = i
        x[i], y[i] = center[by_cell[i], 0], center[by_cell[i], 1]
    for position in range(n):
        rank[place[order[position]]] = position
    kept = np.zeros(n, np.bool_)
    owner = np.arange(n)
    for i in order:
        p = place[i]
        best, best_d2 = -1, radius * radius
        for middle in (key[i] - columns, key[i], key[i] + columns):
            for q in range(start[middle - 1], start[middle + 2]):
                if kept[q]:
                    d2 = (x[p] - x[q]) ** 2 + (y[p] - y[q]) ** 2
                    if d2 < best_d2 or (d2 == best_d2 and best >= 0 and rank[q] < rank[best]):
                        best, best_d2 = q, d2
        if best < 0:
            kept[p] = True
        else:
            owner[i] = by_cell[best]
    return owner
