"""A notebook's day: a path in, detections out, seen as table, pictures and GeoJSON; cohort and evaluation alike."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tifffile

from mitosieve import Cohort, Detections, Detector, Split, evaluate
from mitosieve.errors import InputError, ResolutionError
from mitosieve.export.table import read_detections
from mitosieve.notebook.bar import watching
from mitosieve.scan import items_of_images
from mitosieve.slide.slide import open_slide
from tiny import a_cohort, a_run, a_scan, a_split, images


@pytest.fixture(scope="module")
def found():
    return Detector.load(a_run()).detect([images()[0], str(images()[1])], mpp=0.25)


def test_detect_takes_paths_slides_and_cohorts(found):
    """A path, its text, an opened slide and a cohort give the same rows."""
    detector, cohort = Detector.load(a_run()), Cohort.load(a_cohort())
    first = images()[0].stem
    with open_slide(images()[0], mpp=0.25) as slide:
        opened = detector.detect(slide)
    for one in (opened, detector.detect(str(images()[0]), mpp=0.25), detector.detect(cohort).of_slide(first)):
        assert one.center_l0.tolist() == found.of_slide(first).center_l0.tolist()
        assert one.score.tolist() == found.of_slide(first).score.tolist()


def test_slides_are_called_as_the_command_calls_them(tmp_path):
    """Whatever name a table cannot hold is changed alike; two slides of one name would be poured into one, so they are
    refused; no slide gives no detection.
    """
    odd = tmp_path / "a\tb.jpg"
    shutil.copy2(images()[0], odd)
    detector = Detector.load(a_run())
    named = set(detector.detect(odd, mpp=0.25).slide_id)
    assert named == {item.slide_id for item in items_of_images([odd], mpp="0.25", roi=None)} != {odd.stem}
    other = tmp_path / "other" / "x.jpg"
    other.parent.mkdir()
    for path in (tmp_path / "x.jpg", other):
        shutil.copy2(images()[0], path)
    with pytest.raises(InputError, match="two images are called 'x'"):
        detector.detect([tmp_path / "x.jpg", str(other)], mpp=0.25)
    assert len(detector.detect([])) == 0


def test_slides_are_counted_from_before_the_first(tmp_path):
    """Of paths and of a cohort: what is told first is that none of them is done, so that the time of the first is that
    of one and not of all; of no slide nothing is told.
    """
    detector, heard = Detector.load(a_run()), []

    def note(what, done, total, /, **facts):
        heard.append((what, done, total))

    for slides, number in (([images()[0], images()[1]], 2), (images()[0], 1), (Cohort.load(a_cohort()), None)):
        heard.clear()
        detector.detect(slides, mpp=None if number is None else 0.25, progress=note)
        total = len(slides.slides) if number is None else number
        assert heard[0] == ("slides", 0, total)
        assert [one for one in heard if one[0] == "slides"] == [("slides", n, total) for n in range(total + 1)]
    heard.clear()
    detector.detect([], progress=note)
    assert not heard


def test_a_resolution_that_can_hardly_be_right_is_told(tmp_path):
    """As the command does: beyond a factor of 1.5 a warning, of a file beyond 3 a refusal unless mpp states it."""
    detector, path = Detector.load(a_run()), tmp_path / "coarse.tif"
    tifffile.imwrite(path, np.full((200, 300, 3), 200, np.uint8), resolution=(1e4, 1e4), resolutionunit=3)
    with pytest.raises(ResolutionError, match=r"(?s)differs 4\.0 times .*state it: --mpp 1"):
        detector.detect(path)
    cohort = Cohort.load(a_cohort()).with_entries(
        lambda entry: replace(entry, path=str(path), mpp=1.0, width_l0=300, height_l0=200)
    )
    near = ("differs 4.0 times",)
    for slides, words in ((path, near), (open_slide(path), near), (cohort, near)):
        with pytest.warns(UserWarning, match="unlike the training's|differs") as told:
            detector.detect(slides, mpp=1.0 if slides is path else None)
        said = [str(one.message) for one in told]
        assert {one.filename for one in told} == {__file__}, slides
        for word in ("resolution unlike the training's", *words):
            assert any(word in one for one in said), (slides, word)


def test_what_else_a_file_holds_is_told(tmp_path):
    """A second picture of its size: counts are of the first alone."""
    detector, path = Detector.load(a_run()), tmp_path / "two.tif"
    picture = np.full((200, 300, 3), 200, np.uint8)
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(picture, photometric="rgb", resolution=(4e4, 4e4), resolutionunit=3)
    with pytest.warns(UserWarning, match="two: holds 2 images of this size; the first is read"):
        detector.detect(path)


def test_tables_and_files_of_detections(found, tmp_path):
    """load reads a folder or a CSV; to_frame has its columns; to_geojson a point a row, on one slide."""
    loaded = Detections.load(a_scan())
    assert len(loaded) == len(Detections.load(a_scan() / "detections.csv"))
    frame = loaded.to_frame()
    assert [*frame.columns, "detection_id"] == list(pd.read_csv(a_scan() / "detections.csv").columns)
    assert frame.score.tolist() == read_detections(a_scan() / "detections.csv").score.tolist()
    frame.to_csv(tmp_path / "again.csv", index=False)
    again = Detections.load(tmp_path / "again.csv")
    assert again.is_figure.tolist() == loaded.is_figure.tolist()
    assert np.array_equal(again.stage_score, loaded.stage_score, equal_nan=True)
    one = found.of_slide(images()[0].stem)
    content = one.to_geojson(tmp_path / "one.geojson")
    assert len(content["features"]) == len(one) > 0
    assert (tmp_path / "one.geojson").exists()
    assert one.to_geojson() == content


def test_pictures_show_the_strongest_of_one_slide(found):
    """At most `most` pictures, strongest first, titled by score; another slide's detections are refused."""
    name = images()[0].stem
    figure = found.show(images()[0], mpp=0.25, most=3)
    titles = [axes.get_title() for axes in figure.axes if axes.get_images()]
    scores = sorted(found.of_slide(name).score.tolist(), reverse=True)[:3]
    assert titles == [f"{score:.2f}" for score in scores]
    with pytest.raises(InputError, match="not of"):
        found.show(images()[3], mpp=0.25)
    assert Detections.empty().show(images()[0], mpp=0.25).axes[0].get_images() == []


def test_a_cohort_is_counted_walked_and_seen():
    """len, iteration, entries by number, columns by name, what a table can do; pictures with marks; short reprs."""
    cohort = Cohort.load(a_cohort())
    assert len(cohort) == len(list(cohort)) == 4
    assert cohort.slides[0] == next(iter(cohort))
    assert cohort.slides["mpp"].tolist() == [entry.mpp for entry in cohort]
    assert cohort.slides.groupby("case_id").size().sum() == 4
    assert cohort.slides.frame.area_mm2.tolist() == [entry.area_mm2 for entry in cohort]
    assert len(cohort.show(most=2).axes) == 2
    assert "4 slides" in repr(cohort)
    html = cohort._repr_html_()
    assert str(cohort.counts()["figures"]) in html
    assert "<table" in html
    assert Cohort(cohort.folder, (), cohort.annotations[:0])


def test_marks_lie_on_their_cells_in_pictures_of_oblong_pixels(tmp_path):
    """As far across and down the picture as they are across and down the slide, to a tenth of its pixel."""
    cohort = Cohort.load(shutil.copytree(a_cohort(), tmp_path / "cohort"))
    cohort.with_entries(lambda entry: replace(entry, mpp=0.375, oblong=(0.25, 0.5))).save()
    cohort = Cohort.load(tmp_path / "cohort")
    for axes, entry in zip(cohort.show().axes, cohort.slides, strict=False):
        height, width = axes.get_images()[0].get_array().shape[:2]
        assert height == pytest.approx(2 * width, abs=1)
        drawn = sorted(tuple(point) for line in axes.get_lines() for point in line.get_xydata().tolist())
        marks = cohort.annotations[cohort.annotations.slide_id == entry.slide_id].center_l0
        across, down = (marks + 0.5).T / [[entry.width_l0], [entry.height_l0]] * [[width], [height]]
        assert len(drawn) > 0
        assert np.allclose(drawn, sorted(zip(across - 0.5, down - 0.5, strict=True)), atol=0.1)


def test_an_evaluation_is_plotted_and_told():
    """The operating point lies where precision and recall say; repr and HTML have F1 and counts."""
    cohort, cases = Cohort.load(a_cohort()), Split.load(a_split()).fold("A").test
    result = evaluate(Detections.load(a_scan()), cohort, cases=cases)
    axes = result.plot().axes[0]
    point = axes.get_lines()[1]
    assert np.allclose([point.get_xdata()[0], point.get_ydata()[0]], [result.recall, result.precision], equal_nan=True)
    assert f"F1 {result.f1:.3f}" in repr(result)
    assert "pooled" in result._repr_html_()


def test_reprs_are_short(found):
    """One line without arrays or weights; a cell's HTML counts by slide."""
    for thing in (found, Detector.load(a_run()), Cohort.load(a_cohort())):
        assert len(repr(thing)) < 250
        assert "\n" not in repr(thing)
        assert thing._repr_html_().startswith("<")
    assert f"{len(found.figures)} figures" in repr(found)


def test_a_bar_is_drawn_in_a_notebook_alone(monkeypatch, capsys):
    """With a kernel: one line of words; without: silence; what was asked for is told in either case."""
    with watching(None) as tell:
        assert tell is None
    heard = []
    with watching(lambda *told, **facts: heard.append(told)) as tell:
        tell("slides", 1, 2)
    assert heard == [("slides", 1, 2)]

    class Kernel:
        kernel = True

    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": staticmethod(Kernel)}))
    with watching(None) as tell:
        tell("slides", 1, 2, figures=3)
    assert "slide 2 of 2, 3 figures so far" in capsys.readouterr().err


def test_the_methods_cost_nothing_before_they_are_called():
    """Detections and cohorts are imported without matplotlib and tqdm."""
    code = "import sys\nfrom mitosieve import Cohort, Detections\nprint({'matplotlib', 'tqdm'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
