"""One self-contained HTML page of labels to look at again, for a pathologist: cells by slide, and verdicts on the page.

Chooses nothing and judges nothing: it shows the cells it is given. What is judged on it is saved by the browser as a
GeoJSON file that `import corrections` reads.
"""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from mitosieve.audit.points import COLOURS, feature_of
from mitosieve.audit.suspects import SHOWN, SPARK_HEIGHT, SPARK_WIDTH, Place, SuspectsView
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.place import CLASS_OF
from mitosieve.errors import FormatError, MitosieveError
from mitosieve.report.gallery import Addresses, cut_crop, picture_uri
from mitosieve.report.words import environment
from mitosieve.run import layout
from mitosieve.run.folder import read_json

SUSPECT_UM = 64.0
"""Side of a picture: the cell with those around it, with which a pathologist compares it."""

RIVAL_UM = 32.0
"""Side of the picture of the cell that it resembles, at the same scale."""

SUSPECT_PX = 320
"""Side of a picture on the page; stored at twice as many pixels."""


def render_suspects(view: SuspectsView, cohort: Cohort) -> tuple[str, tuple[str, ...]]:
    """The page, and a sentence for each slide that could not be read; its cells are shown without picture.

    Args:
        view: what to show.
        cohort: the images; each slide is opened once.
    """
    pictures, faults = _cut(_wanted(view), cohort)
    return _render(view, pictures, faults), faults


def serve_suspects(folder: Path, served: Addresses) -> str:
    """The page of an audit as a viewer serves it.

    Args:
        folder: of the audit.
        served: where its parts are.

    Raises:
        FormatError: what the page shows is not kept there, or broken.
    """
    path = folder / layout.AUDIT_SHOWN
    try:
        view = SHOWN.validate_python(read_json(path, {}))
    except ValidationError as error:
        first = error.errors()[0]
        raise FormatError(
            f"does not hold what the page of an audit shows ({first['msg']})", where=path, remedy="run audit again"
        ) from error
    pictures = {(place, um): served.picture(place[0], place[1:], um) for place, um in _wanted(view)}
    shown = {key: address for key, address in pictures.items() if address}
    return _render(view, shown, (), served, folder.resolve().name)


def _wanted(view: SuspectsView) -> list[tuple[Place, float]]:
    """Places to be shown, and how many um wide."""
    cells = [cell for group in view.slides_shown for cell in group.cells]
    wanted = {(cell.place, SUSPECT_UM) for cell in cells}
    wanted |= {(cell.rival, RIVAL_UM) for cell in cells if cell.rival is not None}
    return sorted(wanted)


def _render(
    view: SuspectsView,
    pictures: dict[tuple[Place, float], str],
    faults: Sequence[str],
    served: Addresses | None = None,
    decided_in: str = "",
) -> str:
    cells = [cell for group in view.slides_shown for cell in group.cells]
    return (
        environment(served)
        .get_template("suspects.html.jinja")
        .render(
            view=view,
            decided_in=decided_in,
            pictures=pictures,
            faults=faults,
            served=served,
            crop_um=SUSPECT_UM,
            rival_um=RIVAL_UM,
            side_px=SUSPECT_PX,
            features={f"{cell.rank}": feature_of(cell.point) for cell in cells},
            classes=[{"name": name, "color": COLOURS[name]} for name in CLASS_OF.values()],
            width=SPARK_WIDTH,
            height=SPARK_HEIGHT,
        )
    )


def _cut(
    wanted: Sequence[tuple[Place, float]], cohort: Cohort
) -> tuple[dict[tuple[Place, float], str], tuple[str, ...]]:
    """A picture of each place and side in um as a data URI, and why some are missing."""
    pictures: dict[tuple[Place, float], str] = {}
    faults: list[str] = []
    for slide_id in sorted({place[0] for place, _ in wanted}):
        try:
            with cohort.open(slide_id) as slide:
                for place, um in (item for item in wanted if item[0][0] == slide_id):
                    side = round(2 * SUSPECT_PX * um / SUSPECT_UM)
                    pictures[place, um] = picture_uri(cut_crop(slide, place[1:], crop_um=um), side)
        except MitosieveError as error:
            faults.append(f"{slide_id}: {error.what}")
    return pictures, tuple(faults)
