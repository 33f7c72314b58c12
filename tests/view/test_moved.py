"""Images that moved: each slide has its own or none, never another patient's."""

import json
import shutil

import cv2
import numpy as np
import pytest
from found import a_result, a_slide
from serving import served

from audited_run import a_dasc_run, a_phantom
from mitosieve.audit.report import audit
from mitosieve.cohort.importing import import_cohort
from mitosieve.errors import InputError
from mitosieve.view.opening import open_viewed

NAMES = ("01/01.tif", "01/02.tif", "02/01.tif")


def slide(path, seed=0):
    a_slide(path, width=320, height=240, seed=seed)


@pytest.fixture
def cohort(tmp_path):
    """Cases in folders of their own, whose images have the same names: as TUPAC16 comes."""
    for seed, name in enumerate(NAMES):
        slide(tmp_path / "images" / name, seed)
        marks = (tmp_path / "labels" / "mitoses_ground_truth" / name).with_suffix(".csv")
        marks.parent.mkdir(parents=True, exist_ok=True)
        marks.write_text("100,200\n")
    import_cohort("tupac", tmp_path / "labels", tmp_path / "cohort", images=tmp_path / "images", mpp="0.25")
    return tmp_path / "cohort"


def opened(path, folder=None):
    """slide_id -> path of its image below the folder; None where nobody knows."""
    viewed, _ = open_viewed(path, slides=folder)
    here = None if folder is None else folder.absolute()
    return {one.slide_id: None if one.path is None else str(one.path.relative_to(here)) for one in viewed.slides}


def test_images_of_one_name_are_told_by_their_folders(tmp_path, cohort):
    """Whatever the folder above them is called now, and how deep it lies."""
    shutil.move(tmp_path / "images", tmp_path / "disk" / "of" / "2024")
    hidden = tmp_path / "disk" / "of" / "2024" / "01" / "._01.tif"
    hidden.with_name(".trash").mkdir()
    for junk in (hidden, hidden.with_name(".trash") / "01.tif"):
        junk.write_bytes(b"of a Mac")
    wanted = {"01_01": "01/01.tif", "01_02": "01/02.tif", "02_01": "02/01.tif"}
    assert opened(cohort, tmp_path / "disk" / "of" / "2024") == wanted
    assert opened(cohort, tmp_path / "disk") == {name: f"of/2024/{path}" for name, path in wanted.items()}


def test_where_several_fit_alike_nobody_guesses(tmp_path, cohort):
    """It is told to the page, with what helps and no path; the others are shown."""
    shutil.move(tmp_path / "images", tmp_path / "moved")
    (tmp_path / "moved" / "01").rename(tmp_path / "moved" / "A")
    (tmp_path / "moved" / "02").rename(tmp_path / "moved" / "B")
    assert opened(cohort, tmp_path / "moved") == {"01_01": None, "01_02": "A/02.tif", "02_01": None}
    with served(cohort, slides=tmp_path / "moved") as client:
        told = [one["fault"] for one in client.get("/api/session")["slides"]]
        assert told[1] == ""
        for number in (0, 2):
            assert told[number].startswith("2 images fit it alike (01.tif): name with --slides a folder that keeps")
            status, _, body = client.ask(f"/api/slides/{number}")
            assert (status, told[number] in json.loads(body)["error"]) == (400, True)
    (tmp_path / "moved" / "A" / "02.tif").unlink()
    with pytest.raises(InputError, match=r"(?s)none of its slides.*a folder that keeps the folders they were in"):
        open_viewed(cohort, slides=tmp_path / "moved")


def test_an_image_is_of_one_slide(tmp_path, cohort):
    """Where half of them is not there, the other half does not take its place."""
    shutil.move(tmp_path / "images", tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "01")
    assert opened(cohort, tmp_path / "moved") == {"01_01": None, "01_02": None, "02_01": "02/01.tif"}
    (tmp_path / "moved" / "02").rename(tmp_path / "moved" / "B")
    with pytest.raises(InputError, match="fits another slide as well or better"):
        open_viewed(cohort, slides=tmp_path / "moved")


def test_images_that_are_called_as_their_slides_are_found(tmp_path, cohort):
    """Laid flat, their own names say nothing any more."""
    for seed, name in enumerate(("01_01", "01_02", "02_01")):
        slide(tmp_path / "flat" / f"{name}.tif", seed)
    shutil.rmtree(tmp_path / "images")
    assert opened(cohort, tmp_path / "flat") == {name: f"{name}.tif" for name in ("01_01", "01_02", "02_01")}


def test_what_has_not_moved_is_where_it_was(tmp_path, cohort):
    """A folder without its name, or with several of it, takes nothing away from an image that is still there."""
    folder = tmp_path / "some"
    for seed, name in enumerate(("X/01.tif", "Y/01.tif", "02_01.tif")):
        slide(folder / name, 7 + seed)
    viewed, _ = open_viewed(cohort, slides=folder)
    assert [one.path for one in viewed.slides] == [tmp_path / "images" / name for name in NAMES]


@pytest.mark.parametrize("ending", [".bmp", ".jpg", ".png"])
def test_a_preview_beside_an_image_is_not_it(tmp_path, ending):
    """The whole name comes before the name without ending, whichever the alphabet has first."""
    folder = a_result(tmp_path / "found", names=("one",), size=(400, 300))
    shutil.move(tmp_path / "slides", tmp_path / "moved")
    assert cv2.imwrite(str(tmp_path / "moved" / f"one{ending}"), np.zeros((30, 40, 3), np.uint8))
    assert opened(folder, tmp_path / "moved") == {"one": "one.tif"}


def test_of_several_in_one_folder_it_is_the_one_of_its_size(tmp_path):
    """An image that came back converted, beside its thumbnail: the job's size tells them apart. Two of that size nobody
    can tell, nor any where none has it; then it is said to leave one in the folder, which helps.
    """
    folder = a_result(tmp_path / "found", names=("one",), size=(400, 300))
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "slides" / "one.tif").rename(moved / "one.tiff")
    assert cv2.imwrite(str(moved / "one.png"), np.zeros((30, 40, 3), np.uint8))
    (moved / "one.bmp").write_bytes(b"no image")
    assert opened(folder, moved) == {"one": "one.tiff"}
    wrong = [np.zeros((30, 40, 3), np.uint8), np.zeros((300, 400, 3), np.uint8)]
    (moved / "one.bmp").unlink()
    assert cv2.imwrite(str(moved / "one.png"), wrong[1])
    with pytest.raises(InputError, match=r"(?s)2 images fit it alike .*leave in their folder only the one that it is"):
        open_viewed(folder, slides=moved)
    for name in ("one.tiff", "one.png"):
        assert cv2.imwrite(str(moved / name), wrong[0])
    with pytest.raises(InputError, match="leave in their folder only"):
        open_viewed(folder, slides=moved)
    (moved / "one.png").unlink()
    assert opened(folder, moved) == {"one": "one.tiff"}


def test_the_counts_of_a_slide_whose_image_nobody_can_tell_stay(tmp_path):
    """They are the job's; only its picture is not shown."""
    folder = a_result(tmp_path / "found", names=("one", "two"), size=(400, 300))
    shutil.move(tmp_path / "slides", tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", tmp_path / "both" / "a")
    shutil.copytree(tmp_path / "moved", tmp_path / "both" / "b")
    (tmp_path / "both" / "b" / "two.tif").unlink()
    with served(folder, slides=tmp_path / "both") as client:
        assert client.ask("/api/slides/0")[0] == 400
        assert client.ask("/api/slides/1")[0] == 200
        assert client.get("/api/slides/0/count")["figures"] > 0


def test_another_image_of_an_audit_is_refused(tmp_path):
    """The audit keeps the sizes of its cohort, as a result of detect does."""
    cohort = a_phantom(tmp_path / "cohort")
    a_dasc_run(tmp_path / "run", cohort)
    audit(tmp_path / "run", tmp_path / "audit")
    viewed, _ = open_viewed(tmp_path / "audit")
    known = {entry.slide_id: (entry.width_l0, entry.height_l0) for entry in cohort.slides}
    assert {one.slide_id: one.size_l0 for one in viewed.slides}.items() <= known.items()
    name = viewed.slides[0].path.name
    shutil.copytree(viewed.slides[0].path.parent, tmp_path / "moved")
    assert cv2.imwrite(str(tmp_path / "moved" / name), np.zeros((30, 40, 3), np.uint8))
    with served(tmp_path / "audit", slides=tmp_path / "moved") as client:
        status, _, body = client.ask("/api/slides/0")
        assert (status, b"another image" in body) == (400, True)
        assert client.ask("/api/slides/1")[0] == 200
