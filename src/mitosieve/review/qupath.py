"""What readers decided of a cell, as an object of QuPath. Its file comes back by `import corrections`."""

from typing import Any

from mitosieve.annotation import Label
from mitosieve.export.geojson import BACKGROUND_CLASS, FIGURE_CLASS, IMPOSTER_CLASS, UNSURE_CLASS
from mitosieve.geometry import QUPATH_SHIFT
from mitosieve.review.cell import Cell


def judged_feature(cell: Cell, *, is_background: bool = False) -> dict[str, Any]:
    """An annotation, so that taken back as a correction it is the mark that `import reviews` makes of the cell: also
    where readers are unsure or disagree, for the cell takes its mark all the same and a cell beside it must not.

    Args:
        cell: that somebody judged, found or added; level-0 px, as QuPath has them in the file.
        is_background: whether an audit shows the place without a mark: being no figure it gets none.
    """
    no_figure = BACKGROUND_CLASS if is_background else IMPOSTER_CLASS
    kind = {Label.MITOTIC_FIGURE: FIGURE_CLASS, Label.IMPOSTER: no_figure, None: UNSURE_CLASS}[cell.label]
    return {
        "type": "Feature",
        "id": cell.key if "-" in cell.key else _as_uuid(cell.key),
        "geometry": {"type": "Point", "coordinates": [round(v + QUPATH_SHIFT, 3) for v in (cell.x_px, cell.y_px)]},
        "properties": {
            "objectType": "annotation",
            "name": "added" if cell.is_added else "reviewed",
            "classification": kind,
            "metadata": {f"reader {reader}": str(verdict) for reader, verdict in cell.votes.items()},
            "measurements": {} if cell.score is None else {"score": cell.score},
        },
    }


def _as_uuid(text: str) -> str:
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
