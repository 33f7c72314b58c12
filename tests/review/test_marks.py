"""Decisions of readers as marks of a cohort."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from build import a_cohort, an_image
from layouts import files_below
from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.errors import CohortError, InputError
from mitosieve.review.decision import Decision
from mitosieve.review.log import DecisionLog
from mitosieve.review.marks import import_reviews
from mitosieve.review.slides import Told
from mitosieve.view.desk import Desk
from mitosieve.view.opening import open_viewed
from reviewed_result import a_result, add, judge, look

FIGURE, IMPOSTER = Label.MITOTIC_FIGURE.value, Label.IMPOSTER.value
SIZE = (400, 300)


def decided(folder, decisions):
    log = DecisionLog.beside(folder)
    for decision in decisions:
        log.append(decision)
    return folder


@pytest.fixture
def found(tmp_path):
    """Two slides of real pixels that no cohort has, at 0.5 um per px."""
    points = {"s": [(50, 50, 0.9), (150, 50, 0.8), (250, 50, 0.7), (350, 50, 0.3)], "t": [(100, 100, 0.9)]}
    paths = {}
    for name in points:
        an_image(tmp_path / "slides" / f"{name}.png", width=SIZE[0], height=SIZE[1])
        paths[name] = str(tmp_path / "slides" / f"{name}.png")
    return a_result(tmp_path / "found", points, size_l0=SIZE, paths=paths)


def test_a_whole_slide_without_marks_becomes_a_cohort(tmp_path, found):
    """Accepted, rejected and added cells are marks with who and when; unsure ones are none; other slides stay away."""
    made = [judge(found, 0, "figure"), judge(found, 1, "imposter"), judge(found, 2, "unsure"), add("s", 200, 200)]
    report = import_reviews(decided(found.folder, made), tmp_path / "none", tmp_path / "new")
    cohort = Cohort.load(tmp_path / "new")
    marks = cohort.annotations
    assert [entry.slide_id for entry in cohort.slides] == ["s"]
    assert marks.label.tolist() == [FIGURE, IMPOSTER, FIGURE]
    assert marks.center_l0.tolist() == [[50, 50], [150, 50], [200, 200]]
    assert marks.score.tolist() == [1, 0, 1]
    assert marks.votes.tolist() == ["figure", "imposter", "figure"]
    assert set(marks.source) == {"reviews"}
    assert set(marks.reviewed_by) == {"anna"}
    assert marks.reviewed_at.tolist() == [made[0].at, made[1].at, made[3].at]
    assert not marks.is_corrected.any()
    (entry,) = cohort.slides
    assert (entry.mpp, entry.case_id, entry.labelled, entry.width_l0) == (0.5, "s", True, 400)
    with cohort.open("s") as slide:
        assert slide.size_l0 == SIZE
    assert (report.total.figures, report.total.imposters, report.total.left_out) == (2, 1, 1)
    assert (report.new_slides, report.readers) == (("s",), ("anna",))


def test_a_gallery_searches_nothing_but_the_judged_cells(tmp_path, found):
    """Of single cells only a disc of 7.5 um round each is known: the slide's other tissue is not called background."""
    made = [judge(found, 0, "figure"), judge(found, 1, "imposter"), judge(found, 2, "unsure")]
    cohort = import_reviews(decided(found.folder, made), tmp_path / "none", tmp_path / "new").cohort
    roi = cohort.entry("s").roi
    for place, known in (
        ((50, 50), True),
        ((64, 50), True),
        ((66, 50), False),
        ((250, 50), False),
        ((200, 200), False),
    ):
        assert shapely.intersects_xy(roi, *place) == known, place
    assert roi.area == pytest.approx(2 * np.pi * 15**2, rel=0.05)


def test_what_a_reader_went_through_is_searched_but_for_what_is_open(tmp_path, found):
    """In a field gone through all is known but the unsure cell and the detector's figure that nobody judged."""
    corners = [(0, 0), (280, 0), (280, 280), (0, 280)]
    made = [judge(found, 0, "figure"), judge(found, 1, "unsure"), look("s", corners)]
    cohort = import_reviews(decided(found.folder, made), tmp_path / "none", tmp_path / "new").cohort
    roi = cohort.entry("s").roi
    for place, known in (
        ((50, 50), True),
        ((150, 50), False),
        ((250, 50), False),
        ((200, 200), True),
        ((300, 200), False),
    ):
        assert shapely.intersects_xy(roi, *place) == known, place
    assert Cohort.load(tmp_path / "new").entry("s").roi.equals(roi)


def test_on_oblong_pixels_reaches_are_round_in_um(tmp_path):
    """A slide of 1 x 0.25 um per px: a judged cell makes a disc of 7.5 um searched, and is the mark 7 um beside it, the
    same way in x and y; the new slide keeps both resolutions.
    """
    an_image(tmp_path / "slides" / "s.png", width=SIZE[0], height=SIZE[1])
    place = {"paths": {"s": str(tmp_path / "slides" / "s.png")}, "size_l0": SIZE, "mpp_xy": (1.0, 0.25)}
    first = a_result(tmp_path / "first", {"s": [(100, 100, 0.9), (200, 100, 0.8)]}, **place)
    made = [judge(first, 0, "figure"), judge(first, 1, "figure")]
    cohort = import_reviews(decided(first.folder, made), tmp_path / "none", tmp_path / "new").cohort
    entry = cohort.entry("s")
    assert (entry.mpp, entry.mpp_xy) == (0.625, (1.0, 0.25))
    for (dx, dy), known in (((7, 0), True), ((8, 0), False), ((0, 29), True), ((0, 31), False), ((6, 20), False)):
        assert shapely.intersects_xy(entry.roi, 100 + dx, 100 + dy) == known, (dx, dy)
    again = a_result(tmp_path / "again", {"s": [(107, 100, 0.9), (200, 128, 0.9), (100, 131, 0.9)]}, **place)
    verdicts = [judge(again, row, "imposter") for row in range(3)]
    marks = import_reviews(decided(again.folder, verdicts), tmp_path / "new", tmp_path / "newer").cohort.annotations
    assert marks.label.tolist() == [IMPOSTER, IMPOSTER, IMPOSTER]
    assert marks.center_l0.tolist() == [[100, 100], [200, 100], [100, 131]]


def test_a_slide_gone_through_without_a_mark_is_searched(tmp_path, found):
    """A field in which a reader found nothing is a labelled slide without marks."""
    made = [look("t", [(0, 0), (60, 0), (60, 60), (0, 60)])]
    cohort = import_reviews(decided(found.folder, made), tmp_path / "none", tmp_path / "new").cohort
    assert cohort.entry("t").labelled
    assert cohort.entry("t").roi.area == pytest.approx(3600, rel=0.05)
    assert len(cohort.annotations) == 0


def test_votes_of_readers_become_votes_and_the_majority(tmp_path, found):
    """Most sure readers name the label; score is their share for figure; a tie is left out."""
    votes = [("figure", "figure", "imposter"), ("figure", "imposter", "unsure"), ("imposter", "unsure", "imposter")]
    made = [
        judge(found, row, vote, reader)
        for row, line in enumerate(votes)
        for reader, vote in zip("abc", line, strict=True)
    ]
    report = import_reviews(decided(found.folder, made), tmp_path / "none", tmp_path / "new")
    marks = report.cohort.annotations
    assert marks.label.tolist() == [FIGURE, IMPOSTER]
    assert marks.score.tolist() == [pytest.approx(2 / 3), 0]
    assert marks.votes.tolist() == ["figure figure imposter", "imposter unsure imposter"]
    assert marks.reviewed_by.tolist() == ["a; b; c"] * 2
    assert report.total.left_out == 1
    alone = import_reviews(found.folder, tmp_path / "none", tmp_path / "alone", readers=("b",))
    assert alone.cohort.annotations.label.tolist() == [FIGURE, IMPOSTER]
    with pytest.raises(InputError, match="nothing was decided by 'zoe'"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "more", readers=("zoe",))


@pytest.fixture
def cohort(tmp_path):
    """Two labelled slides of 400 x 300 px at 0.25 um, two figures and an imposter each."""
    return a_cohort(tmp_path / "cohort", cases=2)


def a_scan_of(folder, cohort, moved=0.0):
    """A result whose detections lie on the cohort's marks, and one that lies on none."""
    marks = cohort.annotations
    points = {
        entry.slide_id: [(x + moved, y, 0.9) for x, y in marks.of_slide(entry.slide_id).center_l0.tolist()]
        for entry in cohort.slides
    }
    points["c0_s0"].append((5.0, 290.0, 0.6))
    return a_result(folder, points, size_l0=SIZE)


def test_marks_of_a_cohort_are_confirmed_or_changed(tmp_path, cohort):
    """A cell on a mark is that mark: the other label is a correction, the same one a confirmation; votes stay."""
    found = a_scan_of(tmp_path / "found", cohort, moved=20.0)
    made = [
        judge(found, 0, "imposter"),
        judge(found, 1, "figure"),
        judge(found, 3, "figure"),
        judge(found, 2, "unsure"),
    ]
    before = files_below(cohort.folder)
    report = import_reviews(decided(found.folder, made), cohort.folder, tmp_path / "new")
    assert files_below(cohort.folder) == before
    old, new = cohort.annotations, Cohort.load(tmp_path / "new").annotations
    assert new.label.tolist() == [IMPOSTER, *old.label[1:], FIGURE]
    assert new.label_before.tolist() == [FIGURE, *[""] * 6]
    assert new.corrected_at[0] == made[0].at
    assert new.corrected_from[0].startswith("decisions.jsonl ")
    assert new.reviewed_by.tolist() == ["anna", "anna", *[""] * 4, "anna"]
    np.testing.assert_allclose(new.center_l0[:6], old.center_l0, atol=1e-6)
    assert (report.total.changed, report.total.confirmed, report.total.figures, report.total.left_out) == (1, 1, 1, 1)
    assert report.cohort.entry("c0_s0").roi is None, "what was marked exhaustively stays so"


def test_taken_over_again_the_same_decisions_change_nothing(tmp_path, cohort):
    """A second import into the new version leaves its bytes."""
    found = a_scan_of(tmp_path / "found", cohort)
    decided(found.folder, [judge(found, 0, "imposter"), judge(found, 3, "figure"), add("c1_s0", 390, 290)])
    import_reviews(found.folder, cohort.folder, tmp_path / "new")
    report = import_reviews(found.folder, tmp_path / "new", tmp_path / "again")
    assert files_below(tmp_path / "new") == files_below(tmp_path / "again")
    assert (report.total.changed, report.total.figures, report.total.confirmed) == (0, 0, 3)


@pytest.mark.parametrize("kind", ["cohort", "audit"])
@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("verdict", ["figure", "imposter"])
@pytest.mark.parametrize("away", [0.0, 0.004, 3.0])
def test_of_marks_at_one_place_the_one_that_was_judged_is_corrected(tmp_path, kind, row, verdict, away):
    """In a cohort and in an audit of it, whatever lies nearer: a cell that names its mark is that mark alone."""
    cohort = a_cohort(tmp_path / "cohort", cases=1, figures=2)
    marks = cohort.annotations
    center = np.array([(100.0, 100.0), (100.0 + away, 100.0), (100.0, 100.0 + away)])
    cohort = Cohort(cohort.folder, cohort.slides, replace(marks, center_l0=center))
    cohort.save()
    source = cohort.folder if kind == "cohort" else tmp_path / "audit"
    if kind == "audit":
        lines = [f"{n},c0_s0,{x:.2f},{y:.2f},{marks.label[n]},0.5,{n}" for n, (x, y) in enumerate(center.tolist())]
        source.mkdir()
        (source / "audit.csv").write_text("\n".join(["rank,slide_id,x,y,label,suspicion,mark", *lines, ""]))
        entry = cohort.slides[0]
        facts = {"path": str(cohort.path_of("c0_s0").resolve()), "mpp": entry.mpp}
        (source / "audit.json").write_text(json.dumps({"slides": {"c0_s0": facts}}))
    desk = Desk(*open_viewed(source), reader="anna")
    desk.decide([{"kind": "verdict", "slide": 0, "row": row, "verdict": verdict}])
    report = import_reviews(source, cohort.folder, tmp_path / "new")
    wanted = marks.label.tolist()
    wanted[row] = FIGURE if verdict == "figure" else IMPOSTER
    new = report.cohort.annotations
    assert new.label.tolist() == wanted
    assert [name for name, who in enumerate(new.reviewed_by.tolist()) if who] == [row]


def test_decisions_about_a_cohort_need_no_result(tmp_path, cohort):
    """Decisions that lie beside a cohort are about its slides; a slide that it has not is refused."""
    x, y = cohort.annotations.center_l0[0].tolist()
    one = Decision.now(
        kind="verdict", slide_id="c0_s0", reader="anna", how="cohort", detection_id="m0", x_px=x, y_px=y,
        verdict="imposter",
    )  # fmt: skip
    decided(cohort.folder, [one])
    assert import_reviews(cohort.folder, cohort.folder, tmp_path / "new").total.changed == 1
    decided(cohort.folder, [add("zz", 1, 1)])
    with pytest.raises(CohortError, match="no slide 'zz'"):
        import_reviews(cohort.folder, cohort.folder, tmp_path / "more")


def test_slides_that_moved_are_found_where_they_are_now(tmp_path, found):
    """A folder of images is looked through by file name; an image that is nowhere is one message."""
    decided(found.folder, [judge(found, 0, "figure")])
    (tmp_path / "slides").rename(tmp_path / "moved")
    with pytest.raises(CohortError, match="image of 's' is not there"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "new")
    assert not (tmp_path / "new").exists()
    told = Told(images=tmp_path / "moved", domain="lab", source="ours")
    entry = import_reviews(found.folder, tmp_path / "none", tmp_path / "new", told=told).cohort.entry("s")
    assert (entry.path, entry.domain, entry.source) == (str(tmp_path / "moved" / "s.png"), "lab", "ours")


def test_no_image_of_another_patient_is_taken(tmp_path):
    """Cases in folders of their own whose images have one name: the folder of the first holds no image of the second;
    whole they are told by their folders; and what has another size than the slide is another image.
    """
    for case in ("01", "02"):
        an_image(tmp_path / "old" / case / "01.png", width=SIZE[0], height=SIZE[1])
    paths = {f"{case}_01": str(tmp_path / "old" / case / "01.png") for case in ("01", "02")}
    found = a_result(tmp_path / "found", {name: [(50, 50, 0.9)] for name in paths}, size_l0=SIZE, paths=paths)
    decided(found.folder, [judge(found, 0, "figure")])
    DecisionLog.beside(found.folder).append(judge(found, 1, "figure"))
    (tmp_path / "old").rename(tmp_path / "new")
    told = Told(images=tmp_path / "new" / "01")
    with pytest.raises(CohortError, match="image of '02_01' is not there"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "cohort", told=told)
    whole = import_reviews(found.folder, tmp_path / "none", tmp_path / "cohort", told=Told(images=tmp_path / "new"))
    assert [entry.path for entry in whole.cohort.slides] == [str(tmp_path / "new" / c / "01.png") for c in ("01", "02")]
    an_image(tmp_path / "new" / "02" / "01.png", width=SIZE[0] + 8, height=SIZE[1])
    with pytest.raises(CohortError, match=r"02/01\.png.*it is another image"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "again", told=Told(images=tmp_path / "new"))


def test_a_slide_that_failed_keeps_its_claim_to_its_image(tmp_path):
    """Its decisions are left out, and its image is not taken for another slide's of that name."""
    paths = {f"{case}_01": str(tmp_path / "old" / case / "01.png") for case in ("01", "02")}
    found = a_result(tmp_path / "found", {name: [(50, 50, 0.9)] for name in paths}, size_l0=SIZE, paths=paths)
    decided(found.folder, [judge(found, 0, "figure")])
    an_image(tmp_path / "new" / "02" / "01.png", width=SIZE[0], height=SIZE[1])
    (found.folder / "slides.csv").write_text("slide_id,error\n01_01,\n02_01,is gone\n")
    with pytest.raises(CohortError, match=r"'01_01' is not there: 01\.png fits another slide as well or better"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "c", told=Told(images=tmp_path / "new"))


def test_a_folder_of_images_means_what_lies_in_it(tmp_path):
    """Whatever the ending of a file that detect was given; where it holds none of the slides another folder was meant:
    what lies where it was is not taken.
    """
    an_image(tmp_path / "old" / "s.png", width=SIZE[0], height=SIZE[1])
    (tmp_path / "old" / "s.png").rename(tmp_path / "old" / "s.scan")
    path = {"s": str(tmp_path / "old" / "s.scan")}
    found = a_result(tmp_path / "found", {"s": [(50, 50, 0.9)]}, size_l0=SIZE, paths=path)
    decided(found.folder, [judge(found, 0, "figure")])
    (tmp_path / "empty").mkdir()
    for images, why in ((tmp_path / "typo", "is no folder"), (tmp_path / "empty", "image of 's' is not there")):
        with pytest.raises(CohortError, match=why):
            import_reviews(found.folder, tmp_path / "none", tmp_path / "c", told=Told(images=images))
    (tmp_path / "old").rename(tmp_path / "new")
    whole = import_reviews(found.folder, tmp_path / "none", tmp_path / "c", told=Told(images=tmp_path / "new"))
    assert whole.cohort.entry("s").path == str(tmp_path / "new" / "s.scan")


def test_of_slides_of_which_some_moved_the_others_are_where_they_were(tmp_path):
    """As in the viewer: two lie on two disks, and no folder holds both."""
    paths = {name: str(tmp_path / "old" / f"{name}.png") for name in ("a", "b")}
    for path in paths.values():
        an_image(Path(path), width=SIZE[0], height=SIZE[1])
    found = a_result(tmp_path / "found", {name: [(50, 50, 0.9)] for name in paths}, size_l0=SIZE, paths=paths)
    decided(found.folder, [judge(found, 0, "figure")])
    DecisionLog.beside(found.folder).append(judge(found, 1, "figure"))
    (tmp_path / "new").mkdir()
    moved = shutil.move(paths["a"], tmp_path / "new" / "a.png")
    whole = import_reviews(found.folder, tmp_path / "none", tmp_path / "c", told=Told(images=tmp_path / "new"))
    assert [entry.path for entry in whole.cohort.slides] == [str(moved), paths["b"]]


def test_two_slides_of_one_name_are_refused(tmp_path, cohort):
    """A cohort's slide of another size than the result's is not the one that was looked at."""
    found = a_result(tmp_path / "found", {"c0_s0": [(10, 10, 0.9)]}, size_l0=(500, 300))
    decided(found.folder, [judge(found, 0, "figure")])
    with pytest.raises(CohortError, match="two slides of one name"):
        import_reviews(found.folder, cohort.folder, tmp_path / "new")


def test_nothing_decided_and_nothing_to_overwrite(tmp_path, found):
    """A folder without decisions, and a new version that is not new, are each refused."""
    with pytest.raises(InputError, match="holds no decision"):
        import_reviews(found.folder, tmp_path / "none", tmp_path / "new")
    decided(found.folder, [judge(found, 0, "figure")])
    with pytest.raises(CohortError, match="holds something already"):
        import_reviews(found.folder, tmp_path / "none", found.folder)


@pytest.mark.parametrize(("verdict", "marks"), [("imposter", 0), ("figure", 1)])
def test_background_of_an_audit_that_is_no_figure_gets_no_mark(tmp_path, verdict, marks):
    """It is confirmed, and counted so; called a figure it becomes one. A figure that readers reject is an imposter, in
    a cohort without its mark too.
    """
    cohort = a_cohort(tmp_path / "cohort", cases=1)
    (slide_id,) = {entry.slide_id for entry in cohort.slides}
    rows = [(200.5, 290.25, "background"), (380.0, 20.0, FIGURE)]
    table = "".join(f"{n},{slide_id},{x:.2f},{y:.2f},{label},0.9\n" for n, (x, y, label) in enumerate(rows, 1))
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit" / "audit.csv").write_text("rank,slide_id,x,y,label,suspicion\n" + table)
    made = [
        Decision.now(
            kind="verdict", slide_id=slide_id, reader="anna", how="audit", detection_id=f"place-{n}", x_px=x, y_px=y,
            verdict=said, score=None, detector="",
        )
        for n, ((x, y, _), said) in enumerate(zip(rows, (verdict, "imposter"), strict=True))
    ]  # fmt: skip
    report = import_reviews(decided(tmp_path / "audit", made), cohort.folder, tmp_path / "new")
    new = report.cohort.annotations[len(cohort.annotations) :]
    assert (report.total.confirmed, report.total.figures, report.total.imposters) == (1 - marks, marks, 1)
    assert new.label.tolist() == [FIGURE] * marks + [IMPOSTER]
