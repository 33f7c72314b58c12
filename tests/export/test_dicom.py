"""Laws of the DICOM annotations, read back with highdicom and pydicom."""

from dataclasses import replace

import numpy as np
import pytest
from highdicom.ann import annread
from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, VLWholeSlideMicroscopyImageStorage, generate_uid
from wsidicom.graphical_annotations import AnnotationInstance

from mitosieve.detection import Detections
from mitosieve.errors import FormatError
from mitosieve.export import SlideContext
from mitosieve.export.dicom import CANDIDATE, FIGURE, SCORE, write_annotations


def some_detections(count=30, seed=0):
    generator = np.random.default_rng(seed)
    stage_score = generator.uniform(0, 1, (count, 2))
    stage_score[::3, 1] = np.nan
    return Detections.of(
        slide_id=["s"] * count,
        center_l0=generator.uniform(-0.5, 90_000, (count, 2)),
        score=generator.uniform(0, 1, count),
        threshold=0.5,
        stage_names=("screen", "refined"),
        stage_score=stage_score,
    )


def a_slide(path, size_l0=(90_000, 90_000), mpp_xy=(0.25, 0.5)):
    return SlideContext(slide_id="s", path=path, size_l0=size_l0, mpp_xy=mpp_xy)


def a_level(path, *, size_l0, series="1.2.3", flavour="VOLUME", **more):
    """The header of one level of a DICOM slide, with a few bytes of pixels that nobody should read."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = generate_uid(entropy_srcs=[path.name])
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = "1.2.9", series, "1.2.8"
    image.Modality, image.Manufacturer = "SM", "Maker"
    image.PatientID, image.PatientName = "p7", "Doe^J"
    image.ContentDate, image.ContentTime = "20240229", "101112"
    image.ContainerIdentifier = "glass 7"
    image.ImageType = ["ORIGINAL", "PRIMARY", flavour, "NONE"]
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = size_l0
    for name, value in more.items():
        setattr(image, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)
    return image


def test_each_class_is_a_group_with_its_points_and_scores(tmp_path):
    """Half a pixel is added; a stage that did not see a cell leaves its score out; both float32."""
    detections = some_detections()
    made = annread(write_annotations(tmp_path / "s.dcm", detections, a_slide(tmp_path / "s.tif")))
    groups = made.get_annotation_groups()
    assert [group.annotated_property_type for group in groups] == [FIGURE, CANDIDATE]
    for group, part in zip(groups, (detections.figures, detections[~detections.is_figure]), strict=True):
        assert (group.graphic_type.value, group.number_of_annotations) == ("POINT", len(part))
        points = np.concatenate(group.get_graphic_data("2D"))
        np.testing.assert_allclose(points, part.center_l0 + 0.5, atol=0.01)
        names, values, units = group.get_measurements()
        assert names == [SCORE, *names[1:]]
        assert [name.meaning for name in names[1:]] == ["Score of stage screen", "Score of stage refined"]
        np.testing.assert_allclose(values, np.column_stack([part.score, part.stage_score]), rtol=1e-6)
        assert {unit.value for unit in units} == {"1"}


def test_another_reader_sees_the_same(tmp_path):
    """wsidicom, which shares no code with the writer, reads the groups, places and scores."""
    detections = some_detections()
    path = write_annotations(tmp_path / "s.dcm", detections, a_slide(tmp_path / "s.tif"))
    (made,) = AnnotationInstance.open([path])
    assert made.coordinate_type == "image"
    assert [group.label for group in made.groups] == ["Mitotic figure", "Mitotic figure candidate"]
    for group, part in zip(made.groups, (detections.figures, detections[~detections.is_figure]), strict=True):
        points = [(cell.geometry.x, cell.geometry.y) for cell in group.annotations]
        np.testing.assert_allclose(points, part.center_l0 + 0.5, atol=0.01)
        np.testing.assert_allclose([cell.measurements[0].value for cell in group.annotations], part.score, rtol=1e-6)


def test_a_group_or_a_measurement_without_a_value_is_left_out(tmp_path):
    """DICOM knows no empty ones; the groups that are there are numbered from 1."""
    none = np.full((2, 1), np.nan)
    low = Detections.of(
        slide_id=["s"] * 2, center_l0=[(1, 1), (2, 2)], score=[0.1, 0.2], threshold=0.5,
        stage_names=("late",), stage_score=none,
    )  # fmt: skip
    made = annread(write_annotations(tmp_path / "s.dcm", low, a_slide(tmp_path / "s.tif")))
    (group,) = made.get_annotation_groups()
    assert (group.number, group.annotated_property_type) == (1, CANDIDATE)
    assert [name.value for name in group.get_measurements()[0]] == ["score"]


def test_without_detections_there_is_no_file_and_it_is_said(tmp_path, caplog):
    """A file of an earlier try is removed: it would speak of what is no longer found."""
    path = write_annotations(tmp_path / "s.dcm", some_detections(), a_slide(tmp_path / "s.tif"))
    assert path.exists()
    assert caplog.messages == []
    write_annotations(path, some_detections(0), a_slide(tmp_path / "s.tif"))
    assert not path.exists()
    assert ["nothing was found on s" in message for message in caplog.messages] == [True]


def test_equal_detections_are_equal_bytes_and_others_another_instance(tmp_path):
    """No clock and no chance in the file: identifiers follow from what is written."""
    slide = a_slide(tmp_path / "s.tif")
    one, two = (write_annotations(tmp_path / name, some_detections(), slide) for name in ("1.dcm", "2.dcm"))
    assert one.read_bytes() == two.read_bytes()
    other = write_annotations(tmp_path / "3.dcm", some_detections(seed=1), slide)
    first, third = dcmread(one), dcmread(other)
    assert first.SOPInstanceUID != third.SOPInstanceUID
    assert first.ReferencedImageSequence[0] == third.ReferencedImageSequence[0]
    assert first.StudyInstanceUID == third.StudyInstanceUID


@pytest.mark.parametrize("is_dicom", [True, False])
def test_one_instance_is_one_content(tmp_path, is_dicom):
    """Warnings, notes, size and um per px stand in the file: where one differs, it is another instance of DICOM."""
    path = tmp_path / "slide.dcm"
    if is_dicom:
        a_level(path, size_l0=(90_000, 90_000))
    slide = a_slide(path)
    others = [
        slide,
        replace(slide, warnings=("stain unlike the training's",)),
        replace(slide, notes=("stain unlike the training's",)),
        replace(slide, mpp_xy=(0.25, 0.25)),
    ]
    made = [
        dcmread(write_annotations(tmp_path / f"{number}.dcm", some_detections(), other))
        for number, other in enumerate(others)
    ]
    if is_dicom:
        a_level(path, size_l0=(90_000, 90_000), PatientID="p8")
        made.append(dcmread(write_annotations(tmp_path / "other.dcm", some_detections(), slide)))
    assert len({one.SOPInstanceUID for one in made}) == len(made)
    assert len({group.AnnotationGroupUID for one in made for group in one.AnnotationGroupSequence}) == 2 * len(made)


def test_a_slide_that_is_no_dicom_is_said_to_be_none(tmp_path):
    """Its identifiers are made from name, size and resolution, which every group states; no patient is invented."""
    path = tmp_path / "s.tif"
    path.write_bytes(b"II*\0 not looked into")
    made = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), a_slide(path)))
    assert "not DICOM" in made.SeriesDescription
    for group in made.AnnotationGroupSequence:
        text = group.AnnotationGroupDescription
        assert "90000 x 90000 px, 0.25 x 0.5 um per px" in text
        assert "not a DICOM file" in text
        assert "exist in no archive" in text
    assert (made.PatientID, str(made.PatientName), made.StudyDate) == ("", "", "")
    assert made.ContentDate == "19000101"
    (image,) = made.ReferencedImageSequence
    assert image.ReferencedSOPClassUID == VLWholeSlideMicroscopyImageStorage
    others = (a_slide(path, size_l0=(9, 9)), a_slide(path, mpp_xy=(0.25, 0.25)))
    for number, other in enumerate(others):
        again = dcmread(write_annotations(tmp_path / f"{number}.dcm", some_detections(), other))
        assert again.ReferencedImageSequence[0].ReferencedSOPInstanceUID != image.ReferencedSOPInstanceUID


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_dicom_slide_is_referred_to_by_its_level_0(tmp_path, as_folder):
    """Not by other levels, its label, or another slide beside it; patient, study, specimen and date are its own."""
    folder = tmp_path / "slide"
    a_level(folder / "1.dcm", size_l0=(1000, 800))
    level0 = a_level(folder / "2.dcm", size_l0=(4000, 3200))
    a_level(folder / "0.dcm", size_l0=(4000, 3200), flavour="LABEL")
    if not as_folder:
        a_level(folder / "0b.dcm", size_l0=(4000, 3200), series="1.2.4")
    (folder / "notes.txt").write_text("not DICOM")
    slide = a_slide(folder if as_folder else folder / "1.dcm", size_l0=(4000, 3200))
    made = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), slide))
    (image,) = made.ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == level0.SOPInstanceUID
    assert made.ReferencedSeriesSequence[0].SeriesInstanceUID == level0.SeriesInstanceUID
    assert made.SeriesInstanceUID != level0.SeriesInstanceUID
    assert made.StudyInstanceUID == level0.StudyInstanceUID
    assert (made.PatientID, made.PatientName, made.ContainerIdentifier) == ("p7", "Doe^J", "glass 7")
    assert (made.ContentDate, made.ContentTime) == ("20240229", "101112")
    assert "not DICOM" not in made.SeriesDescription
    assert "archive" not in made.AnnotationGroupSequence[0].AnnotationGroupDescription


@pytest.mark.parametrize("named", ["1", "2", "3", "4"])
def test_of_two_areas_of_one_size_that_of_the_named_file_is_referred_to(tmp_path, named):
    """Whichever of its levels the file is."""
    made_of = {}
    for name, size, corner in (("1", 4000, 20.0), ("2", 1000, 20.0005), ("3", 4000, 30.0), ("4", 1000, 30.0005)):
        origin = Dataset()
        origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = corner, 40.0
        more = {"TotalPixelMatrixOriginSequence": [origin]}
        made_of[name] = a_level(tmp_path / "slide" / f"{name}.dcm", size_l0=(size, size), **more)
    slide = a_slide(tmp_path / "slide" / f"{named}.dcm", size_l0=(4000, 4000))
    (image,) = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), slide)).ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == made_of["1" if named in "12" else "3"].SOPInstanceUID


def test_an_origin_that_was_emptied_is_none(tmp_path):
    """As an anonymised file may have it."""
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem = origin.YOffsetInSlideCoordinateSystem = None
    made = a_level(tmp_path / "slide/1.dcm", size_l0=(40, 32), TotalPixelMatrixOriginSequence=[origin])
    slide = a_slide(tmp_path / "slide", size_l0=(40, 32))
    (image,) = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), slide)).ReferencedImageSequence
    assert image.ReferencedSOPInstanceUID == made.SOPInstanceUID


def test_a_part_of_a_concatenation_is_referred_to_by_its_source(tmp_path):
    """As DICOM PS3.3 C.37.1.2 wants it: the parts are one image."""
    a_level(tmp_path / "slide/1.dcm", size_l0=(40, 32), SOPInstanceUIDOfConcatenationSource="1.2.77")
    slide = a_slide(tmp_path / "slide", size_l0=(40, 32))
    made = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), slide))
    assert made.ReferencedImageSequence[0].ReferencedSOPInstanceUID == "1.2.77"


def test_a_dicom_slide_of_another_size_is_refused(tmp_path):
    """Points would be laid over the wrong image."""
    a_level(tmp_path / "slide/1.dcm", size_l0=(40, 32))
    with pytest.raises(FormatError, match=r"no DICOM slide level of 50 x 32 px"):
        write_annotations(tmp_path / "s.dcm", some_detections(), a_slide(tmp_path / "slide", size_l0=(50, 32)))
    assert not (tmp_path / "s.dcm").exists()


def test_a_damaged_dicom_file_is_named(tmp_path):
    """Its mark is there, its header is not."""
    (tmp_path / "slide").mkdir()
    (tmp_path / "slide/bad.dcm").write_bytes(bytes(128) + b"DICM" + b"\x02\x00\x00\x00ULzz")
    with pytest.raises(FormatError, match=r"slide.*: (is a DICOM file that cannot be read|holds no DICOM)"):
        write_annotations(tmp_path / "s.dcm", some_detections(), a_slide(tmp_path / "slide"))


def test_odd_names_survive(tmp_path):
    """Other scripts and DICOM's own separator in names, and more bytes than a DICOM text takes."""
    name = "Präparat \\ 7 " + "ü" * 40
    slide = SlideContext(slide_id=name, path=tmp_path / "s.tif", size_l0=(10, 10), mpp_xy=(0.25, 0.25))
    one = Detections.of(
        slide_id=[name], center_l0=[(1, 2)], score=[0.5], stage_names=(name,), stage_score=np.array([[0.5]])
    )
    path = write_annotations(tmp_path / "s.dcm", one, slide)
    made = dcmread(path)
    assert name in made.AnnotationGroupSequence[0].AnnotationGroupDescription
    assert made.ContainerIdentifier == "Präparat / 7 " + "ü" * 25
    assert annread(path).get_annotation_groups()[0].get_measurements()[0][1].meaning.startswith("Score of stage Präp")


def test_a_patients_name_in_another_character_set_survives(tmp_path):
    """The annotation is UTF-8 whatever its image is."""
    a_level(tmp_path / "slide/1.dcm", size_l0=(40, 32), SpecificCharacterSet="ISO_IR 100", PatientName="Müller^J")
    slide = a_slide(tmp_path / "slide", size_l0=(40, 32))
    made = dcmread(write_annotations(tmp_path / "s.dcm", some_detections(), slide))
    assert str(made.PatientName) == "Müller^J"
