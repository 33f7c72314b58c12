"""Laws of the images of a training: a resume goes on with the same ones, or not at all."""

import json
import os
import shutil
from contextlib import nullcontext
from dataclasses import replace

import pytest

from build import a_cohort
from mitosieve.errors import RunFolderError, SlideError
from mitosieve.run.folder import RunFolder, hash_file
from mitosieve.run.layout import FRAMES, IMAGES
from mitosieve.train.known_images import check_images, forget_image, unlike_images
from tiny import a_run, files_of, mitosieve, training


def test_every_image_of_the_training_is_kept_with_size_and_hash(tmp_path):
    """Of the named cases alone: those of the test part are not touched."""
    cohort = a_cohort(tmp_path / "c", cases=3, slides_per_case=2)
    check_images(RunFolder(tmp_path), cohort, ("c0", "c2"))
    known = json.loads((tmp_path / IMAGES).read_text())
    assert sorted(known) == ["c0_s0", "c0_s1", "c2_s0", "c2_s1"]
    path = cohort.path_of("c2_s1")
    assert known["c2_s1"] == {"bytes": path.stat().st_size, "sha256": hash_file(path)}


def test_a_changed_image_is_refused_and_an_absent_one_is_not(tmp_path):
    """Also where its size stays; what the run knows stays as it is."""
    cohort = a_cohort(tmp_path / "c", cases=2)
    run = RunFolder(tmp_path)
    check_images(run, cohort, cohort.cases)
    before = (tmp_path / IMAGES).read_bytes()
    path = cohort.path_of("c1_s0")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunFolderError, match=r"other images of 1 slides: c1_s0.*\nremedy: put the images back"):
        check_images(run, cohort, cohort.cases)
    path.unlink()
    check_images(run, cohort, cohort.cases)
    path.write_bytes(content)
    check_images(run, cohort, cohort.cases)
    assert (tmp_path / IMAGES).read_bytes() == before


@pytest.mark.parametrize("kind", ["MIRAX", "DICOM"])
def test_what_a_system_adds_to_the_files_of_a_slide_is_no_part_of_it(tmp_path, kind):
    """A `.DS_Store` beside the files of a slide of many files: the slide is not another one for it."""
    cohort = a_cohort(tmp_path / "c", cases=1)
    path = cohort.path_of("c0_s0")
    folder = path.with_suffix("")
    folder.mkdir()
    image = path.rename(path.with_suffix(".mrxs") if kind == "MIRAX" else folder / "1.dcm")
    image = image if kind == "MIRAX" else folder
    cohort = cohort.with_entries(lambda entry: replace(entry, path=str(image)))
    (folder / "Data0000.dat").write_bytes(b"data")
    run = RunFolder(tmp_path)
    check_images(run, cohort, cohort.cases)
    (folder / ".DS_Store").write_bytes(b"window")
    assert not [*unlike_images(run, cohort, by_content=True), *unlike_images(run, cohort, by_content=False)]
    check_images(run, cohort, cohort.cases)
    (folder / "Data0001.dat").write_bytes(b"more")
    with pytest.raises(RunFolderError, match="c0_s0"):
        check_images(run, cohort, cohort.cases)


@pytest.mark.parametrize(("ending", "is_part"), [(".mrxs", True), (".png", False)])
def test_a_folder_of_its_name_is_part_of_a_mirax_image_alone(tmp_path, ending, is_part):
    """A change there is a change of the image; beside any other image it is somebody's own folder, as of a result."""
    cohort = a_cohort(tmp_path / "c", cases=1)
    path = cohort.path_of("c0_s0")
    cohort = cohort.with_entries(lambda entry: replace(entry, path=str(path.rename(path.with_suffix(ending)))))
    run, beside = RunFolder(tmp_path), path.with_suffix("")
    beside.mkdir()
    (beside / "Data0001.dat").write_bytes(b"pixels")
    check_images(run, cohort, cohort.cases)
    (beside / "Data0001.dat").write_bytes(b"others")
    with pytest.raises(RunFolderError, match="c0_s0") if is_part else nullcontext():
        check_images(run, cohort, cohort.cases)
    assert unlike_images(run, cohort, by_content=True) == (["c0_s0"] if is_part else [])


def test_frames_and_stain_of_unknown_images_are_not_kept(tmp_path):
    """A run that does not say what its images were renders them again."""
    cohort = a_cohort(tmp_path / "c", cases=1)
    (tmp_path / FRAMES).mkdir()
    (tmp_path / FRAMES / "target.json").write_text("null")
    check_images(RunFolder(tmp_path), cohort, cohort.cases)
    assert not (tmp_path / FRAMES).exists()
    (tmp_path / FRAMES).mkdir()
    check_images(RunFolder(tmp_path), cohort, cohort.cases)
    assert (tmp_path / FRAMES).exists()


def test_an_image_that_could_not_be_read_may_be_mended(tmp_path):
    """Nothing was learned from it; what was rendered beside it is made again, and the others stay known."""
    cohort = a_cohort(tmp_path / "c", cases=2)
    run = RunFolder(tmp_path)
    check_images(run, cohort, cohort.cases)
    (tmp_path / FRAMES).mkdir()
    path = cohort.path_of("c1_s0")
    forget_image(run, cohort, SlideError("is truncated", where=path))
    assert not (tmp_path / FRAMES).exists()
    path.write_bytes(path.read_bytes() + b"mended")
    check_images(run, cohort, cohort.cases)
    assert sorted(json.loads((tmp_path / IMAGES).read_text())) == ["c0_s0", "c1_s0"]
    forget_image(run, cohort, SlideError("is of no cohort", where="elsewhere.png"))
    cohort.path_of("c0_s0").write_bytes(b"other")
    with pytest.raises(RunFolderError, match="c0_s0"):
        check_images(run, cohort, cohort.cases)


def test_an_image_that_was_learned_from_stays_known(tmp_path):
    """Where places are found all images were read: one that fails later and comes back otherwise is another one."""
    cohort = a_cohort(tmp_path / "c", cases=1)
    run, path = RunFolder(tmp_path), cohort.path_of("c0_s0")
    check_images(run, cohort, cohort.cases)
    (tmp_path / "places").mkdir()
    (tmp_path / "places" / "train.parquet").touch()
    forget_image(run, cohort, SlideError("cannot be read", where=path))
    path.write_bytes(path.read_bytes() + b"exported anew")
    with pytest.raises(RunFolderError, match="c0_s0"):
        check_images(run, cohort, cohort.cases)


def test_a_training_is_not_resumed_with_another_image(tmp_path):
    """On the command line: one message, exit 2, the run as it was."""
    run = tmp_path / "run"
    shutil.copytree(a_run(), run)
    words = training(run, "cascade.parts_too=true")
    known = json.loads((run / IMAGES).read_text())
    name = sorted(known)[0]
    known[name]["sha256"] = "0" * 64
    (run / IMAGES).write_text(json.dumps(known))
    before = files_of(run)
    told = mitosieve(*words, "--resume")
    assert told.code == 2
    assert f"was started with other images of 1 slides: {name}" in told.err
    assert files_of(run) == before


def test_an_image_of_equal_size_that_was_written_since_is_another(tmp_path):
    """As a stain-normalised export in its place: a study would take the old run for the new images'."""
    cohort = a_cohort(tmp_path / "c", cases=2)
    run = RunFolder(tmp_path)
    check_images(run, cohort, cohort.cases)
    path = cohort.path_of("c1_s0")
    content = path.read_bytes()
    path.write_bytes(content)
    later = (tmp_path / IMAGES).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert unlike_images(run, cohort, by_content=False) == []
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(path, ns=(later + 10**9, later + 10**9))
    assert unlike_images(run, cohort, by_content=False) == ["c1_s0"]
