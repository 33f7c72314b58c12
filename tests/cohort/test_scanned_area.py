"""Laws of marks on slides whose scanner states what it scanned: they lie on their cells, or it is told."""

import numpy as np
import pytest
from build_slides import an_scn
from test_slide_runner import a_database, annotation

from mitosieve.cohort.importing import import_cohort
from mitosieve.errors import FormatError
from mitosieve.geometry import Region

CELL = (159.5, 109.5)
"""Where the painted cell lies on the scanned area; on the canvas it lies `CORNER` further."""

CORNER = (60, 40)


def a_cell_on_glass(folder):
    """A scanned area with one dark cell, on a larger glass."""
    pixels = np.full((220, 300, 3), 230, dtype=np.uint8)
    pixels[106:114, 156:164] = 20
    folder.mkdir(parents=True)
    an_scn(folder / "p1_a.scn", pixels, corner_px=CORNER, whole_px=(900, 600))
    return folder


def imported(folder, name, source, **more):
    """Where the mark lies after import with the image beside it, its warnings, and how dark the image is there."""
    report = import_cohort(name, source, folder / "cohort", images=folder / "images", **more)
    cohort = report.cohort
    (place,) = cohort.annotations.center_l0.tolist()
    with cohort.open(cohort.slides[0].slide_id) as slide:
        x, y = map(round, place)
        shade = slide.read(Region(x=x, y=y, w=1, h=1)).mean()
    return tuple(place), report.warnings, shade


def asap_dot(path, x, y):
    coordinates = f'<Coordinates><Coordinate Order="0" X="{x}" Y="{y}"/></Coordinates>'
    dot = f'<Annotation Name="a" Type="Dot" PartOfGroup="mitosis">{coordinates}</Annotation>'
    groups = '<AnnotationGroups><Group Name="mitosis"/></AnnotationGroups>'
    path.write_text(f"<ASAP_Annotations><Annotations>{dot}</Annotations>{groups}</ASAP_Annotations>")
    return path


def test_a_mark_on_the_canvas_lies_on_its_cell_after_import_or_it_is_told(tmp_path):
    """ASAP states no size: told with the corner and the option; with it, the mark lies on the cell."""
    a_cell_on_glass(tmp_path / "images")
    dot = asap_dot(tmp_path / "p1_a.xml", CELL[0] + CORNER[0], CELL[1] + CORNER[1])
    place, told, shade = imported(tmp_path, "asap", dot)
    assert (place, shade > 200) == ((219.5, 149.5), True)
    assert [text for text in told if "--whole-canvas" in text and "corner 60, 40" in text]
    (tmp_path / "cohort").rename(tmp_path / "before")
    place, told, shade = imported(tmp_path, "asap", dot, whole_canvas=True)
    assert (place, shade < 60) == (CELL, True)
    assert [text for text in told if "were moved to the scanned area" in text and "by 60, 40" in text]


@pytest.mark.parametrize(("corner", "size"), [(CORNER, (900, 600)), ((0, 0), (300, 220))])
def test_the_size_that_labels_state_says_where_they_count_from(tmp_path, corner, size):
    """SlideRunner stores OpenSlide's size, the canvas: the mark is moved; with the area's size it stays."""
    a_cell_on_glass(tmp_path / "images")
    x, y = CELL[0] + corner[0], CELL[1] + corner[1]
    source = a_database(
        tmp_path / "l.sqlite",
        "DELETE FROM Slides WHERE uid = 2",
        f"UPDATE Slides SET filename = 'p1_a.scn', width = {size[0]}, height = {size[1]}",
        *annotation(1, 1, 1, at=[(x, y)]),
    )
    place, told, shade = imported(tmp_path, "slide_runner", source)
    assert (place, shade < 60) == (CELL, True)
    assert any("moved" in text for text in told) == (corner == CORNER)
    assert not [text for text in told if "--whole-canvas" in text]


def test_an_area_on_the_canvas_moves_with_its_marks(tmp_path):
    """What was searched is the same tissue; another size than either is refused still."""
    a_cell_on_glass(tmp_path / "images")
    area = '"POLYGON ((160 90, 260 90, 260 190, 160 190, 160 90))"'
    (tmp_path / "l.csv").write_text(f"image,case,x,y,label,roi\np1_a.scn,p,219.5,149.5,mitosis,{area}\n")
    report = import_cohort("points", tmp_path / "l.csv", tmp_path / "c", images=tmp_path / "images", whole_canvas=True)
    assert report.cohort.slides[0].roi.bounds == (100, 50, 200, 150)
    with pytest.raises(FormatError, match="only its file says where"):
        import_cohort("points", tmp_path / "l.csv", tmp_path / "d", mpp=0.5, whole_canvas=True)
    assert not (tmp_path / "d").exists()
