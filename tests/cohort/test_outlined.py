"""Laws of ASAP's and ImageScope's XML, read as labels."""

import pytest

from layouts import text
from mitosieve.annotation import Label
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.errors import FormatError, ResolutionError

FIGURE, IMPOSTER = Label.MITOTIC_FIGURE, Label.IMPOSTER
SQUARE = ((10, 10), (20, 10), (20, 20), (10, 20))


def asap(path, *annotations):
    """`annotations`: (type, group, places)."""
    made = "".join(
        f'<Annotation Name="a" Type="{kind}" PartOfGroup="{group}"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(places))
        + "</Coordinates></Annotation>"
        for kind, group, places in annotations
    )
    groups = '<AnnotationGroups><Group Name="Mitosis" PartOfGroup="None"/></AnnotationGroups>'
    return text(
        path, f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{made}</Annotations>{groups}</ASAP_Annotations>'
    )


def image_scope(path, *layers, mpp=""):
    """`layers`: (name, [(type, text, places)])."""
    made = "".join(
        f'<Annotation Id="1" Name="{name}"><Attributes><Attribute Name="Description" Value=""/></Attributes><Regions>'
        + "".join(
            f'<Region Type="{kind}" Text="{said}"><Vertices>'
            + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in places)
            + "</Vertices></Region>"
            for kind, said, places in regions
        )
        + "</Regions></Annotation>"
        for name, regions in layers
    )
    return text(path, f'<Annotations MicronsPerPixel="{mpp}">{made}</Annotations>')


def marks(name, source):
    (image,) = read_labels(name, source, None).images
    return [(m.x, m.y, m.label) for m in image.marks]


def test_groups_of_asap_are_classes_and_shapes_lie_at_their_centroid(tmp_path):
    """Dots, sets of points, polygons, rectangles; the file is called as its slide."""
    source = asap(
        tmp_path / "p1_a.xml",
        ("Dot", "Mitosis", [(125, 130)]),
        ("PointSet", "Mitosis", [(1, 2), (3, 4)]),
        ("Polygon", "non-mitosis", SQUARE),
        ("Rectangle", "ROI", ((0, 0), (200, 0), (200, 200), (0, 200))),
    )
    assert marks("asap", source) == [(125, 130, FIGURE), (1, 2, FIGURE), (3, 4, FIGURE), (15, 15, IMPOSTER)]
    (entry,) = import_cohort("asap", source, tmp_path / "c", mpp=0.25).cohort.slides
    assert (entry.slide_id, entry.case_id, entry.roi.area, entry.labelled) == ("p1_a", "p1", 40_000, True)


def test_layers_of_image_scope_are_classes_and_it_says_the_resolution(tmp_path):
    """One vertex is a point, an ellipse lies in the middle of its corners; arrows are left out and told."""
    source = image_scope(
        tmp_path / "p1_a.xml",
        ("mitosis", [("0", "", [(1, 1)]), ("2", "", [(10, 20), (30, 60)]), ("3", "", [(5, 5), (9, 9)])]),
        ("", [("0", "hard negative", SQUARE)]),
        mpp="0.2523",
    )
    assert marks("image_scope", source) == [(1, 1, FIGURE), (20, 40, FIGURE), (15, 15, IMPOSTER)]
    report = import_cohort("image_scope", source, tmp_path / "c")
    assert report.cohort.slides[0].mpp == 0.2523
    assert any("1 line or arrow left out" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("places", "middle", "area"),
    [
        (((0, 0), (10, 10), (10, 0), (0, 10)), (5, 5), 50),
        (((0, 0), (40, 40), (40, 0), (0, 38)), None, None),
    ],
)
def test_an_outline_that_crosses_itself_is_what_it_encloses(tmp_path, places, middle, area):
    """A hand that crosses its line encloses both lobes; the mark lies between them and is not lost."""
    made = {
        "asap": asap(tmp_path / "a.xml", ("Polygon", "Mitosis", places)),
        "image_scope": image_scope(tmp_path / "b.xml", ("mitosis", [("0", "", places)])),
    }
    for name, source in made.items():
        (image,) = read_labels(name, source, None).images
        (mark,) = image.marks
        xs, ys = zip(*places, strict=True)
        assert min(xs) < mark.x < max(xs)
        assert min(ys) < mark.y < max(ys)
        if middle:
            assert (mark.x, mark.y, mark.outline.area) == (*middle, area)


def test_what_a_layer_of_image_scope_excludes_is_taken_off_its_areas_alone(tmp_path):
    """A hole in a searched region and in a figure's outline; no mark of its own, nothing of another layer, no point."""
    whole, inner = ((0, 0), (40, 0), (40, 40), (0, 40)), ((0, 0), (20, 0), (20, 40), (0, 40))
    source = image_scope(
        tmp_path / "p1_a.xml",
        ("ROI", [("1", "", whole), ("1", "", inner)]),
        ("mitosis", [("0", "", whole), ("0", "", [(5, 5)]), ("1", "", inner), ("2", "", whole)]),
        ("hard negative", [("0", "", whole)]),
    )
    holes = source.read_text().replace('Type="1" Text=""', 'Type="1" Text="" NegativeROA="1"')
    source.write_text(holes.replace(' NegativeROA="1"', ' NegativeROA="0"', 1))
    assert marks("image_scope", source) == [(30, 20, FIGURE), (5, 5, FIGURE), (30, 20, FIGURE), (20, 20, IMPOSTER)]
    (entry,) = import_cohort("image_scope", source, tmp_path / "c", mpp=0.25).cohort.slides
    assert (entry.roi.area, entry.roi.bounds) == (800, (20, 0, 40, 40))


@pytest.mark.parametrize("name", ["asap", "image_scope"])
def test_a_slide_without_a_mark_or_with_lines_alone_is_unlabelled(tmp_path, name):
    """Such a file does not say that anybody searched; what was lost leaves no slide free of figures."""
    if name == "asap":
        asap(tmp_path / "x/a.xml", ("Dot", "Mitosis", [(1, 1)]))
        asap(tmp_path / "x/below/b.XML")
    else:
        image_scope(tmp_path / "x/a.xml", ("mitosis", [("0", "", [(1, 1)])]))
        image_scope(tmp_path / "x/below/b.XML", ("mitosis", [("3", "", [(1, 1), (2, 2)])]))
    reading = read_labels(name, tmp_path / "x", None)
    assert [(image.file_name, image.labelled) for image in reading.images] == [("a", True), ("b", False)]


def test_an_annotation_without_a_group_is_refused_until_it_is_ruled(tmp_path):
    """ASAP writes None where there is none."""
    source = asap(tmp_path / "a.xml", ("Dot", "Mitosis", [(1, 1)]), ("Dot", "None", [(5, 5)]))
    with pytest.raises(FormatError, match=r"'unclassified' \(1 mark\)"):
        read_labels("asap", source, None)


def test_broken_files_are_refused(tmp_path):
    """By file and annotation."""
    for name, source, message in (
        ("asap", asap(tmp_path / "a.xml", ("Dot", "Mitosis", [("left", 1)])), "annotation 1: X is 'left'"),
        ("image_scope", image_scope(tmp_path / "b.xml", ("mitosis", [("0", "", [("", 1)])])), "region 1: X is ''"),
        ("asap", text(tmp_path / "c.xml", "<ASAP_Annotations>"), "is not XML"),
        ("image_scope", text(tmp_path / "d.xml", "<x/>"), "is <x>, not <Annotations>"),
    ):
        with pytest.raises(FormatError, match=message):
            read_labels(name, source, None)
    with pytest.raises(ResolutionError, match="not between"):
        read_labels("image_scope", image_scope(tmp_path / "e.xml", mpp="99"), None)
    unknown = image_scope(tmp_path / "z.xml", mpp="0.000000")
    assert import_cohort("image_scope", unknown, tmp_path / "z", mpp=0.25).cohort.slides[0].mpp == 0.25
    for name in ("asap", "image_scope"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FormatError, match="holds no XML file"):
            read_labels(name, tmp_path / "empty", None)


@pytest.mark.data
def test_inputs_from_the_wild(cases_folder):
    """One dot of ASAP, one vertex of ImageScope."""
    folder = cases_folder / "labels/26-formats-without-importer"
    assert marks("asap", folder / "asap.xml") == [(125, 130, FIGURE)]
    assert marks("image_scope", folder / "scope.xml") == [(1, 1, FIGURE)]
