"""Audited labels as QuPath annotations, to be corrected there and taken back by `import corrections`.

Knows nothing of how a label came to be suspected.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mitosieve.cohort.place import CLASS_OF, in_digits, place_id
from mitosieve.export.rows import write_list
from mitosieve.geometry import QUPATH_SHIFT

COLOURS = {"Mitotic figure": [0, 200, 0], "Imposter": [213, 94, 0], "Background": [86, 180, 233]}
"""Of the classes, by name; those of figures as in the detections' export."""


@dataclass(frozen=True, kw_only=True)
class AuditedPlace:
    """One point.

    Attributes:
        slide_id: where.
        center_l0: x, y in level-0 px.
        row: of the cohort's marks, or NO_ROW.
        label: a key of CLASS_OF.
        name: what QuPath shows beside it.
        facts: further metadata, texts.
        measurements: numbers that QuPath can sort and filter by.
    """

    slide_id: str
    center_l0: tuple[float, float]
    row: int
    label: str
    name: str
    facts: dict[str, str]
    measurements: dict[str, float]


def write_places(path: Path, places: Sequence[AuditedPlace]) -> Path:
    """Write places of one slide as a FeatureCollection of points, each a QuPath `annotation` of its own.

    The id and the metadata slide_id, x, y, row tell the place when the file comes back; positions have two digits,
    which QuPath keeps. Equal places give equal bytes.

    Raises:
        StorageError: the file cannot be written.
    """
    rows = (json.dumps(feature_of(place), separators=(",", ":"), allow_nan=False) for place in places)
    return write_list(path, head='{"type":"FeatureCollection","features":[', rows=rows, tail="]}\n")


def feature_of(place: AuditedPlace) -> dict[str, object]:
    """The point as GeoJSON, of which the file of a slide, and of verdicts, is made."""
    x, y = place.center_l0
    name = CLASS_OF[place.label]
    here = {"slide_id": place.slide_id, "x": in_digits(x), "y": in_digits(y), "row": str(place.row)}
    return {
        "type": "Feature",
        "id": place_id(place.slide_id, x, y, place.row),
        "geometry": {
            "type": "Point",
            "coordinates": [round(float(here["x"]) + QUPATH_SHIFT, 2), round(float(here["y"]) + QUPATH_SHIFT, 2)],
        },
        "properties": {
            "objectType": "annotation",
            "name": place.name,
            "classification": {"name": name, "color": COLOURS[name]},
            "metadata": here | place.facts,
            "measurements": place.measurements,
        },
    }
