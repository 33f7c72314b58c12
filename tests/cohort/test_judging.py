"""Laws of what becomes of classes, the same for every format that names them."""

import json
import sqlite3

import pytest
import shapely

from build import an_image
from layouts import box, text, voc_xml
from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.importing import import_cohort, read_labels
from mitosieve.cohort.vocabulary import Meaning
from mitosieve.errors import FormatError, InputError

FIGURE, IMPOSTER = Label.MITOTIC_FIGURE, Label.IMPOSTER


def as_points(folder, classes, marks):
    rows = "".join(f"p{image}_a.png,{x},{y},{name}\n" for image, name, x, y in marks)
    return text(folder / "l.csv", "image,x,y,label\n" + rows)


def as_json(folder, classes, marks, corners):
    ids = {name: number for number, name in enumerate(classes, start=1)}
    content = {
        "images": [{"id": i, "file_name": f"p{i}_a.png", "width": 400, "height": 300} for i in (1, 2)],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [
            {
                "id": n, "image_id": i, "category_id": ids[name],
                "bbox": box(x, y, 20) if corners else [x - 10, y - 10, 20, 20],
            }
            for n, (i, name, x, y) in enumerate(marks)
        ],
    }  # fmt: skip
    return text(folder / "l.json", json.dumps(content))


def as_coco(folder, classes, marks):
    return as_json(folder, classes, marks, corners=False)


def as_midog(folder, classes, marks):
    return as_json(folder, classes, marks, corners=True)


def as_voc(folder, classes, marks):
    for image in (1, 2):
        own = [(name, x, y) for i, name, x, y in marks if i == image]
        voc_xml(folder / "voc" / f"p{image}_a.xml", objects=own, filename=f"p{image}_a.png")
    return folder / "voc"


def as_slide_runner(folder, classes, marks):
    path = folder / "l.sqlite"
    path.unlink(missing_ok=True)
    ids = {name: number for number, name in enumerate(classes, start=1)}
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE Slides (uid, filename, width, height, directory); CREATE TABLE Classes (uid, name);"
            "CREATE TABLE Annotations (uid, slide, type, agreedClass);"
            "CREATE TABLE Annotations_coordinates (coordinateX, coordinateY, slide, annoId, orderIdx);"
            "CREATE TABLE Annotations_label (person, class, annoId);"
            "INSERT INTO Slides VALUES (1, 'p1_a.png', 400, 300, ''), (2, 'p2_a.png', 400, 300, '');"
        )
        database.executemany("INSERT INTO Classes VALUES (?, ?)", [(n, name) for name, n in ids.items()])
        for n, (i, name, x, y) in enumerate(marks):
            database.execute("INSERT INTO Annotations VALUES (?, ?, 1, ?)", (n, i, ids[name]))
            database.execute("INSERT INTO Annotations_coordinates VALUES (?, ?, ?, ?, 1)", (x, y, i, n))
    database.close()
    return path


FORMATS = {"points": as_points, "coco": as_coco, "midog": as_midog, "voc": as_voc, "slide_runner": as_slide_runner}


def as_asap(path, shapes):
    made = "".join(
        f'<Annotation Type="{"Dot" if len(places) == 1 else "Polygon"}" PartOfGroup="{name}"><Coordinates>'
        + "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in enumerate(places))
        + "</Coordinates></Annotation>"
        for places, name in shapes
    )
    text(path.with_suffix(".xml"), f"<ASAP_Annotations><Annotations>{made}</Annotations></ASAP_Annotations>")


def as_image_scope(path, shapes):
    made = "".join(
        f'<Annotation Name="{name}"><Regions><Region Type="0"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}"/>' for x, y in places)
        + "</Vertices></Region></Regions></Annotation>"
        for places, name in shapes
    )
    text(path.with_suffix(".xml"), f"<Annotations>{made}</Annotations>")


def as_qupath(path, shapes):
    made = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": places[0]}
            if len(places) == 1
            else {"type": "Polygon", "coordinates": [[*places, places[0]]]},
            "properties": {"classification": {"name": name}},
        }
        for places, name in shapes
    ]
    text(path.with_suffix(".geojson"), json.dumps({"type": "FeatureCollection", "features": made}))


OUTLINED = {"asap": as_asap, "image_scope": as_image_scope, "qupath": as_qupath}
"""Writers of one file a slide; `shapes`: (places, class), a point or the corners of an area."""


@pytest.fixture(params=FORMATS)
def read(request, tmp_path):
    """Writes marks (image, class, x, y) of two images in a format, and reads them by it."""

    def of(classes, marks, rulings=None):
        source = FORMATS[request.param](tmp_path, classes, marks)
        return read_labels(request.param, source, None, rulings=rulings)

    return of


def test_every_format_understands_the_same_names(read):
    """A German figure and an English hard negative, whatever the file is called."""
    reading = read(["Mitose", "Hard negative"], [(1, "Mitose", 100, 50), (2, "Hard negative", 200, 80)])
    assert [[(m.x, m.y, m.label) for m in image.marks] for image in reading.images] == [
        [(100, 50, FIGURE)], [(200, 80, IMPOSTER)],
    ]  # fmt: skip
    assert [image.labelled for image in reading.images] == [True, True]


def test_a_class_that_is_not_understood_is_refused_with_its_number_and_what_to_write(read):
    """Nothing is left out in silence: the message has all classes, their numbers and the option."""
    marks = [(1, "mitosis", 100, 50), (1, "kernel", 150, 50), (2, "kernel", 200, 80)]
    with pytest.raises(FormatError, match=r"'kernel' \(2 marks\) is not known .*'mitosis' \(1 mark\)") as caught:
        read(["mitosis", "kernel"], marks)
    assert '--label "kernel=WHAT"' in str(caught.value)


def test_a_ruling_decides_and_ignored_marks_leave_no_searched_slide(read):
    """figure and imposter are labels; other is left out; ignore takes its slides out of those that were searched."""
    marks = [(1, "mitosis", 100, 50), (1, "kernel", 150, 50), (2, "mitosis", 200, 80)]

    def of(what):
        reading = read(["mitosis", "kernel"], marks, {"kernel": what})
        return [([m.label for m in i.marks], i.labelled) for i in reading.images], [c.text for c in reading.cautions]

    assert of(Meaning.FIGURE)[0] == [([FIGURE, FIGURE], True), ([FIGURE], True)]
    assert of(Meaning.IMPOSTER)[0] == [([FIGURE, IMPOSTER], True), ([FIGURE], True)]
    assert of(Meaning.OTHER)[0] == [([FIGURE], True), ([FIGURE], True)]
    found, told = of(Meaning.IGNORE)
    assert found == [([FIGURE], False), ([FIGURE], True)]
    assert any("1 mark of 'kernel'" in line and "p1_a.png" in line for line in told)


def test_a_file_without_a_class_for_figures_is_refused(read):
    """Imposters alone look like a file whose figures have another name; who says of each class what it is may go on."""
    marks = [(1, "hard negative", 100, 50)]
    with pytest.raises(FormatError, match=r"none of its classes means a mitotic figure: 'hard negative' \(1 mark\)"):
        read(["hard negative"], marks)
    reading = read(["hard negative"], marks, {"hard negative": Meaning.IMPOSTER})
    assert [m.label for m in reading.images[0].marks] == [IMPOSTER]


def test_nmf_is_a_figure_beside_amf_and_refused_alone(read):
    """MIDOG 2025 calls normal mitotic figures so; others call non-mitotic ones so."""
    marks = [(1, "AMF", 100, 50), (1, "NMF", 150, 50)]
    assert [m.label for m in read(["AMF", "NMF"], marks).images[0].marks] == [FIGURE, FIGURE]
    for first in ("mitotic figure", "hard negative"):
        with pytest.raises(FormatError, match=r"'NMF' \(1 mark\) is not known .*beside AMF"):
            read([first, "NMF"], [(1, first, 100, 50), (1, "NMF", 150, 50)])


def test_a_ruling_on_a_class_that_is_not_there_is_refused(read):
    """A typing error would leave the class as it was."""
    with pytest.raises(InputError, match=r"--label names 'mitse', but the classes are: 'mitosis'"):
        read(["mitosis"], [(1, "mitosis", 100, 50)], {"mitse": Meaning.FIGURE})


def test_regions_are_what_was_searched(tmp_path):
    """An outline of a class for regions becomes the slide's roi; alone it labels nothing."""
    source = as_slide_runner(
        tmp_path, ["ROI", "mitosis"], [(1, "mitosis", 100, 50), (1, "ROI", 50, 20), (2, "ROI", 1, 1)]
    )
    with sqlite3.connect(source) as database:
        database.execute("UPDATE Annotations SET type = 2 WHERE agreedClass = 1")
        database.execute("INSERT INTO Annotations_coordinates VALUES (150, 120, 1, 1, 2), (101, 51, 2, 2, 2)")
    database.close()
    import_cohort("slide_runner", source, tmp_path / "c", mpp=0.25)
    one, two = Cohort.load(tmp_path / "c").slides
    assert (one.roi.bounds, one.labelled) == ((50, 20, 150, 120), True)
    assert (two.roi.area, two.labelled) == (5000, False)
    with sqlite3.connect(source) as database:
        database.execute("DELETE FROM Classes WHERE name = 'mitosis'")
        database.execute("DELETE FROM Annotations WHERE agreedClass = 2")
    database.close()
    report = import_cohort("slide_runner", source, tmp_path / "d", mpp=0.25)
    assert (report.total.labelled, report.total.figures) == (0, 0)
    assert [entry.roi is None for entry in report.cohort.slides] == [False, False]


@pytest.mark.parametrize("name", ["coco", "midog", "voc", "yolo"])
def test_a_box_of_a_region_is_what_was_searched(tmp_path, name):
    """In formats of boxes as in those of outlines: what lies beside it is nobody's background."""
    marks = [(1, "mitosis", 100, 50), (1, "ROI", 120, 80)]
    if name == "yolo":
        an_image(tmp_path / "yolo/images/p1_a.png", width=400, height=300)
        source = text(tmp_path / "yolo/labels/p1_a.txt", "0 0.25 0.2 0.05 0.05\n1 0.3 0.26666667 0.05 0.06666667\n")
        text(tmp_path / "yolo/classes.txt", "mitosis\nROI\n")
        source = source.parents[1]
    else:
        source = FORMATS[name](tmp_path, ["mitosis", "ROI"], marks)
    image = next(image for image in read_labels(name, source, None).images if image.marks)
    area = shapely.from_wkt(image.roi_wkt)
    assert area.contains(shapely.Point(120, 80))
    assert not area.contains(shapely.Point(200, 80))
    assert image.labelled


def test_a_slide_whose_regions_have_no_area_was_not_searched_all_over(tmp_path):
    """A point of the class for regions says that it was searched in part, and not in which."""
    as_qupath(tmp_path / "q" / "s1", [([(10, 10)], "mitosis"), ([(50, 50)], "ROI")])
    (image,) = read_labels("qupath", tmp_path / "q", None).images
    assert not image.labelled
    voc_xml(tmp_path / "v" / "p1_a.xml", objects=[("mitosis", 100, 50)], filename="p1_a.png")
    flat = "<xmin>50</xmin><ymin>50</ymin><xmax>50</xmax><ymax>150</ymax>"
    flat = f"<object><name>ROI</name><bndbox>{flat}</bndbox></object>"
    written = (tmp_path / "v" / "p1_a.xml").read_text()
    text(tmp_path / "v" / "p1_a.xml", written.replace("</annotation>", f"{flat}</annotation>"))
    reading = read_labels("voc", tmp_path / "v", None)
    assert [(image.labelled, image.roi_wkt, len(image.marks)) for image in reading.images] == [(False, "", 1)]
    assert any("left out, without an outline: 1" in caution.text for caution in reading.cautions)
    point = "<xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax>"
    point = f"<object><name>mitosis</name><bndbox>{point}</bndbox></object>"
    text(tmp_path / "v" / "p1_a.xml", f"<annotation><filename>p1_a.png</filename>{flat}{2 * point}</annotation>")
    with pytest.raises(FormatError, match="all its 2 boxes are without area"):
        read_labels("voc", tmp_path / "v", None)


@pytest.mark.parametrize("name", ["asap", "image_scope", "qupath"])
def test_a_slide_without_a_region_beside_others_with_one_is_told(tmp_path, name):
    """Its points say that it was looked at and not where; alone, or where no slide has a region, nothing is said."""
    square = [(0, 0), (90, 0), (90, 90), (0, 90)]
    written = {"s1": [([(10, 10)], "mitosis"), (square, "ROI")], "s2": [([(10, 10)], "mitosis")], "s3": []}
    for slide, shapes in written.items():
        OUTLINED[name](tmp_path / name / slide, shapes)
    told = [c.text for c in read_labels(name, tmp_path / name, None).cautions if "searched all over" in c.text]
    assert ["1 labelled slide without a region, where 1 other had" in line and "s2" in line for line in told] == [True]
    (first,) = [path for path in (tmp_path / name).iterdir() if path.stem == "s1"]
    first.unlink()
    assert not any("searched all over" in c.text for c in read_labels(name, tmp_path / name, None).cautions)


def test_votes_become_the_share_for_figures(tmp_path):
    """By what the voted classes mean, not by their order in the file."""
    source = as_midog(tmp_path, ["hard negative", "Mitose"], [(1, "Mitose", 100, 50)])
    content = json.loads(source.read_text())
    content["annotations"][0]["labels"] = [2, 2, 1]
    (mark,) = read_labels("midog", text(source, json.dumps(content)), None).images[0].marks
    assert (mark.score, mark.votes) == (pytest.approx(2 / 3), "2 2 1")


@pytest.mark.data
@pytest.mark.parametrize(("name", "figures"), [("AperioCS2", 688), ("HamamatsuS360", 582)])
def test_published_databases_whose_class_is_mitose(cases_folder, tmp_path, name, figures):
    """Counts of MIDOG 2021's data description."""
    source = cases_folder / f"labels/01-slide-runner-mitose/{name}.sqlite"
    assert import_cohort("slide_runner", source, tmp_path / "c", mpp=0.25).total.figures == figures


@pytest.mark.data
def test_published_labels_of_atypical_figures(cases_folder, tmp_path):
    """AMF and NMF together are 159 figures; with one of them renamed the other is refused until it is ruled."""
    folder = cases_folder / "labels/03-nmf-is-a-figure"
    assert import_cohort("points", folder / "as_is.csv", tmp_path / "c", mpp=0.25).total.figures == 159
    with pytest.raises(FormatError, match="NMF"):
        import_cohort("points", folder / "amf_renamed.csv", tmp_path / "d", mpp=0.25)
    ruled = import_cohort(
        "points", folder / "amf_renamed.csv", tmp_path / "d", mpp=0.25, rulings={"NMF": Meaning.FIGURE}
    )
    assert ruled.total.figures == 159


@pytest.mark.data
def test_a_published_database_of_regions_alone(cases_folder, tmp_path):
    """150 slides, 148 of them with their regions as roi, none of them labelled."""
    source = cases_folder / "labels/08-regions-only/roi.sqlite"
    report = import_cohort("slide_runner", source, tmp_path / "c", mpp=0.25)
    assert (report.total.slides, report.total.labelled) == (150, 0)
    assert sum(entry.roi is not None for entry in Cohort.load(tmp_path / "c").slides) == 148
