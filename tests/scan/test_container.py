"""The container contract on folders: one image in, one file of figures in mm out, nothing else touched."""

import json
import re
import shlex
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from build import an_image
from midog_points import read_points
from mitosieve.errors import DetectorError, FormatError, InputError, MitosieveError, ResolutionError, SlideError
from mitosieve.network.compute import Compute
from mitosieve.network.config import ChsNetConfig
from mitosieve.network.registry import build_network
from mitosieve.patch.frames import FrameConfig
from mitosieve.scan.container import IMAGES, RESULT, SOCKET, find_image, run_container
from mitosieve.sieve.cascade import detect_slide
from mitosieve.sieve.config import DetectorConfig, Stage
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.propose.proposer import GridProposer
from mitosieve.slide.slide import open_slide

CPU = Compute(device="cpu", precision="32-true")
ROOT = Path(__file__).parents[2]
TINY = ChsNetConfig(width=1 / 128)
SIZE = (200, 150)


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """An untrained detector whose threshold divides what it finds."""
    torch.manual_seed(0)
    config = DetectorConfig(
        frame=FrameConfig(mpp=0.25, stain="none"),
        proposer=GridProposer(stride_px=32),
        stages=(Stage(name="only", network=TINY, threshold=0.0),),
    )
    made = Detector(config=config, networks=((build_network(TINY).eval(),),))
    folder = tmp_path_factory.mktemp("model")
    pixels = an_image(folder / "any.png", width=SIZE[0], height=SIZE[1], dots=[(60, 60), (140, 90)])
    with open_slide(folder / "any.png", mpp=0.25) as slide:
        score = detect_slide(made, slide, compute=CPU).score
    assert len(score) > 1
    made.with_threshold(float(np.median(score))).save(folder)
    return folder, pixels


def a_case(folder, pixels, *, name="007.tiff", mpp=0.25, sockets=(SOCKET,)):
    """The input folder of a case as the platform mounts it; `sockets` None leaves out inputs.json."""
    path = folder / IMAGES / name
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = {} if mpp is None else {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", **stated)
    if sockets is not None:
        (folder / "inputs.json").write_text(json.dumps([a_socket(slug) for slug in sockets]))
    return folder


def a_socket(slug=SOCKET, path=IMAGES):
    return {"file": None, "image": {"name": "007.tiff"}, "interface": {"slug": slug, "relative_path": path}}


def files_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("sockets", [(SOCKET,), None], ids=["2025", "before"])
def test_the_figures_of_the_image_are_written_in_mm(tmp_path, detector, sockets):
    """With and without inputs.json: what detecting on the slide finds, in the layout of 2025, and no other file."""
    folder, pixels = detector
    case = a_case(tmp_path / "in", pixels, sockets=sockets)
    before = files_below(tmp_path)
    result = run_container(folder, case, tmp_path / "out", compute=CPU)
    assert {path for path in files_below(tmp_path) if path not in before} == {result}
    assert result == tmp_path / "out" / RESULT
    assert {path: path.read_bytes() for path in before} == before
    with open_slide(case / IMAGES / "007.tiff") as slide:
        expected = detect_slide(Detector.load(folder), slide, compute=CPU)
    found = read_points(result, 0.25, "007")
    assert found.center_l0 == pytest.approx(expected.center_l0, abs=5e-3)
    assert found.score == pytest.approx(expected.score, abs=1e-6)
    assert found.is_figure.tolist() == expected.is_figure.tolist()
    assert {True, False} == set(found.is_figure.tolist())


def test_the_layout_is_that_of_the_reference(tmp_path, detector):
    """Name, type, version, and for each point name, place and probability."""
    folder, pixels = detector
    result = run_container(folder, a_case(tmp_path / "in", pixels), tmp_path / "out", compute=CPU)
    content = json.loads(result.read_text())
    assert {key: content[key] for key in ("name", "type", "version")} == {
        "name": "Points of interest",
        "type": "Multiple points",
        "version": {"major": 1, "minor": 0},
    }
    for point in content["points"]:
        assert point.keys() == {"name", "point", "probability"}
        assert -0.0075 < min(point["point"]) <= max(point["point"]) <= 10
        assert point["name"] in {"mitotic figure", "non-mitotic figure"}


def test_the_resolution_is_the_tags_or_the_one_stated(tmp_path, detector):
    """mm follow from it; an image without a tag is refused with the remedy, and --mpp overrides one."""
    folder, pixels = detector
    tagged = a_case(tmp_path / "tagged", pixels, mpp=0.25)
    bare = a_case(tmp_path / "bare", pixels, mpp=None)
    with pytest.raises(ResolutionError, match="states no resolution"):
        run_container(folder, bare, tmp_path / "out", compute=CPU)
    assert not (tmp_path / "out").exists()
    own = run_container(folder, tagged, tmp_path / "1", compute=CPU).read_bytes()
    assert run_container(folder, bare, tmp_path / "2", mpp=0.25, compute=CPU).read_bytes() == own
    other = run_container(folder, tagged, tmp_path / "3", mpp=0.5, compute=CPU)
    with open_slide(tagged / IMAGES / "007.tiff", mpp=0.5) as slide:
        expected = detect_slide(Detector.load(folder), slide, compute=CPU)
    assert read_points(other, 0.5, "007").center_l0 == pytest.approx(expected.center_l0, abs=5e-3)


def test_a_process_of_its_own_needs_no_network(tmp_path, detector):
    """Any look-up of a name or opening of a connection ends the process: none happens."""
    folder, pixels = detector
    case = a_case(tmp_path / "in", pixels)
    script = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise SystemExit(f"network used: {event} {args}")
sys.addaudithook(refuse)
from pathlib import Path
from mitosieve.scan.container import run_container
print(run_container(*map(Path, sys.argv[1:])))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, folder, case, tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "out" / RESULT)), done.stderr
    assert done.stderr == ""


def an_mha(path, pixels, *, mpp=0.25, compressed=False, **changed):
    """A MetaImage as ITK writes it; `changed` replaces values, None takes a key out."""
    data = np.ascontiguousarray(pixels).tobytes()
    header = {
        "ObjectType": "Image",
        "NDims": "2",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": str(compressed),
        "TransformMatrix": "1 0 0 1",
        "Offset": "0 0",
        "CenterOfRotation": "0 0",
        "ElementSpacing": f"{mpp / 1000} {mpp / 1000}",
        "DimSize": f"{pixels.shape[1]} {pixels.shape[0]}",
        "ElementNumberOfChannels": "3",
        "ElementType": "MET_UCHAR",
    } | changed
    text = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{text}ElementDataFile = LOCAL\n".encode() + (zlib.compress(data) if compressed else data))
    return path


@pytest.mark.parametrize("more", [{}, {"compressed": True}, {"DimSize": "200 150 1", "TransformMatrix": None}])
def test_a_metaimage_gives_what_its_tiff_gives(tmp_path, detector, more):
    """The platform turns some uploads into .mha; pixels, mm and scores are the same, and no copy is left behind."""
    folder, pixels = detector
    an_mha(tmp_path / "mha" / IMAGES / "007.mha", pixels, **more)
    a_case(tmp_path / "tiff", pixels)
    results = [run_container(folder, tmp_path / kind, tmp_path / "out" / kind, compute=CPU) for kind in ("mha", "tiff")]
    assert results[0].read_bytes() == results[1].read_bytes()
    assert len(list((tmp_path / "mha").rglob("*.*"))) == 1


BAD_MHA = {
    "grey": ({"ElementNumberOfChannels": "1"}, "ElementNumberOfChannels is 1"),
    "16 bit": ({"ElementType": "MET_USHORT"}, "ElementType is MET_USHORT"),
    "a volume": ({"DimSize": "200 150 4"}, "DimSize is 200 150 4"),
    "a bomb": ({"DimSize": "100000 100000"}, "DimSize is 100000 100000"),
    "no size": ({"DimSize": None}, "DimSize is None"),
    "size as text": ({"DimSize": "wide high"}, "DimSize is 'wide high'"),
    "negative size": ({"DimSize": "-200 150"}, "DimSize is -200 150"),
    "turned": ({"TransformMatrix": "0 1 1 0"}, "turned"),
    "moved": ({"Offset": "0.5 0"}, "Offset is 0.5 0"),
    "moved by another name": ({"Offset": None, "Position": "5 3"}, "Position is 5 3"),
    "moved by a third name": ({"Offset": None, "Origin": "5 3"}, "Origin is 5 3"),
    "turned by another name": ({"TransformMatrix": None, "Orientation": "0 1 1 0"}, "turned"),
    "turned by a third name": ({"TransformMatrix": None, "Rotation": "0 1 1 0"}, "turned"),
    "too few bytes": ({"DimSize": "200 151"}, "bytes where 90,600 belong"),
    "broken zlib": ({"CompressedData": "True"}, "cannot be unpacked"),
    "spacing as text": ({"ElementSpacing": "fine"}, "ElementSpacing is 'fine'"),
    "no spacing": ({"ElementSpacing": None}, "states no resolution"),
    "absurd spacing": ({"ElementSpacing": "1 1"}, "no resolution|1000 um per px"),
}


@pytest.mark.parametrize("name", BAD_MHA)
def test_a_metaimage_that_would_be_misread_is_refused(tmp_path, detector, name):
    """By what is wrong with it; no result is written."""
    folder, pixels = detector
    changed, message = BAD_MHA[name]
    an_mha(tmp_path / "in" / IMAGES / "007.mha", pixels, **changed)
    with pytest.raises((FormatError, ResolutionError), match=message) as caught:
        run_container(folder, tmp_path / "in", tmp_path / "out", compute=CPU)
    assert "remedy:" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_what_a_mac_hides_is_no_second_image(tmp_path):
    """A case is one image, and `._` beside it is none."""
    folder = tmp_path / "images" / "histopathology-roi-cropout"
    folder.mkdir(parents=True)
    for name in ("a.tif", "._a.tif"):
        (folder / name).write_bytes(b"II*\0")
    assert find_image(tmp_path).name == "a.tif"


def test_a_file_that_is_no_image_is_refused(tmp_path, detector):
    """Text called .tif and text called .mha."""
    folder, _ = detector
    for name, error in (("a.tif", SlideError), ("a.mha", FormatError)):
        image = tmp_path / name / IMAGES / name
        image.parent.mkdir(parents=True)
        image.write_text("not an image\n" * 3)
        with pytest.raises(error, match=name):
            run_container(folder, tmp_path / name, tmp_path / "out", compute=CPU)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        ([a_socket("whole-slide-image")], "names the sockets whole-slide-image"),
        ([a_socket(), a_socket("mask")], "names the sockets .*, mask"),
        ([], r"names the sockets \(none\)"),
        ({"interface": 3}, "not a list of inputs"),
        ([{"image": {}}], "not a list of inputs"),
        (7, "not a list of inputs"),
        ([a_socket(path="../elsewhere")], "outside the input folder"),
        ([a_socket(path="/etc")], "outside the input folder"),
        ([a_socket(path="images/other")], "holds no image"),
    ],
)
def test_an_inputs_file_of_another_contract_is_refused(tmp_path, detector, listing, message):
    """By file and socket; the socket that is known is named."""
    case = a_case(tmp_path / "in", detector[1])
    (case / "inputs.json").write_text(json.dumps(listing))
    with pytest.raises(InputError, match=message):
        find_image(case)


@pytest.mark.data
def test_the_published_inputs_file_is_understood(data_folder, tmp_path, detector):
    """The inputs.json of the MIDOG 2025 reference leads to the image."""
    case = a_case(tmp_path / "in", detector[1], name="350.tiff")
    published = data_folder / "formats/reference/midog25_track1/interf0_inputs.json"
    (case / "inputs.json").write_bytes(published.read_bytes())
    assert find_image(case) == case / IMAGES / "350.tiff"


def test_an_inputs_file_that_is_not_json_is_refused(tmp_path, detector):
    """Cut off, or of another encoding."""
    case = a_case(tmp_path / "in", detector[1])
    for content in (b"[{", b"\xff\xfe\xe4"):
        (case / "inputs.json").write_bytes(content)
        with pytest.raises(InputError, match="not a list of inputs"):
            find_image(case)


def test_a_case_without_its_image_or_with_several_is_refused(tmp_path, detector):
    """Which one is meant is not guessed; a file of another kind beside the image does not count."""
    with pytest.raises(InputError, match="no such input folder"):
        find_image(tmp_path / "gone")
    case = a_case(tmp_path / "in", detector[1])
    (case / IMAGES / "thumbnail.png").write_bytes(b"")
    assert find_image(case).name == "007.tiff"
    a_case(case, detector[1], name="008.TIF")
    with pytest.raises(InputError, match=r"holds 2 images: 007.tiff, 008.TIF"):
        find_image(case)
    for path in (case / IMAGES).glob("*.[tT]*"):
        path.unlink()
    with pytest.raises(InputError, match="holds no image"):
        find_image(case)


def test_a_model_that_is_missing_or_altered_is_refused(tmp_path, detector):
    """Before anything is computed or written."""
    folder, pixels = detector
    case = a_case(tmp_path / "in", pixels)
    with pytest.raises(DetectorError):
        run_container(tmp_path / "no model", case, tmp_path / "out", compute=CPU)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "only.safetensors").write_bytes((folder / "only.safetensors").read_bytes()[:-1] + b"\x7f")
    with pytest.raises(DetectorError, match="altered"):
        run_container(tmp_path, case, tmp_path / "out", compute=CPU)
    assert not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written_is_one_message(tmp_path, detector):
    """A file stands where the folder should be."""
    folder, pixels = detector
    (tmp_path / "out").write_text("")
    with pytest.raises(MitosieveError, match=r"out.*cannot be written"):
        run_container(folder, a_case(tmp_path / "in", pixels), tmp_path / "out", compute=CPU)


def dockerfile():
    """Instructions with their arguments, continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, rest in lines]


def test_the_dockerfile_takes_only_what_is_there_and_what_is_sent():
    """Every file it copies exists and passes .dockerignore."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [shlex.split(rest)[:-1] for word, rest in dockerfile() if word == "COPY" and "--from" not in rest]
    names = [name for group in copied for name in group]
    assert names
    assert {name for name in names if not (ROOT / name).exists()} == set()
    assert set(names) == sent


def test_the_dockerfile_pins_versions_and_runs_as_nobody_special():
    """Constraints hold for every installation; the last user is not root; the command is the contract's."""
    words = dockerfile()
    before_pip = next(i for i, (word, rest) in enumerate(words) if word == "RUN" and "pip install" in rest)
    assert any(word == "ENV" and "PIP_CONSTRAINT=" in rest for word, rest in words[:before_pip])
    last_stage = words[max(i for i, (word, _) in enumerate(words) if word == "FROM") :]
    assert [rest for word, rest in last_stage if word == "USER"] == ["10001"]
    assert not any("pip " in rest for _, rest in last_stage)
    assert json.loads(words[-1][1]) == ["mitosieve", "container"]


def test_a_detector_of_the_package_serves_by_its_name(tmp_path, detector):
    """--model NAME: nothing need be mounted but the case; an empty model folder says so and names `models`."""
    case = a_case(tmp_path / "in", detector[1])
    (tmp_path / "model").mkdir()
    with pytest.raises(DetectorError, match="mitosieve models"):
        run_container(tmp_path / "model", case, tmp_path / "out", compute=CPU)
    result = run_container("default", case, tmp_path / "out", compute=CPU)
    assert json.loads(result.read_text())["type"] == "Multiple points"
