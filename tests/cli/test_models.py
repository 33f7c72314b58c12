"""The detectors of the package as a user meets them: listed, shown, used by name; what cannot be had is told."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from boxed import POINTS, a_box
from mitosieve.export.table import read_detections
from mitosieve.models import box as box_module
from mitosieve.models.box import DEFAULT, folder_of, names
from mitosieve.network.compute import Compute
from mitosieve.run.folder import hash_file
from mitosieve.scan import Scan, items_of_images, origin_of, scan
from mitosieve.sieve.detector import Detector
from tiny import ONE_CORE, a_cohort, a_run, a_split, files_of, images, mitosieve


def detecting(folder, *words):
    return mitosieve("detect", images()[0], "--mpp", 0.25, "--out", folder, *ONE_CORE, *words)


@pytest.fixture(scope="module")
def pointed(tmp_path_factory):
    """The tests' own run with three operating points, each of which calls other detections figures."""
    folder = tmp_path_factory.mktemp("pointed")
    assert detecting(folder / "all", "--detector", a_run(), "--threshold", 0).code == 0
    score = read_detections(folder / "all" / "detections.csv").score
    low, mid, high = (float(value) for value in pd.Series(score).quantile([0.2, 0.5, 0.8]))
    points = {"sensitive": low, "balanced": mid, "specific": high}
    return Detector.load(a_run()).with_points(points).save(folder / "detector"), points


def test_a_slide_is_counted_with_nothing_but_its_name(tmp_path):
    """`detect slide --out found`: the shipped default, by name and hash in detect.json; `default` says the same."""
    assert detecting(tmp_path / "d").code == 0
    facts = json.loads((tmp_path / "d" / "detect.json").read_text())
    assert (facts["detector"], facts["operating_point"]) == (DEFAULT, "balanced")
    assert facts["detector_hash"] == hash_file(folder_of(DEFAULT) / "detector.toml")
    for name in ("default", DEFAULT):
        assert detecting(tmp_path / name, "--detector", name).code == 0
        assert files_of(tmp_path / name) == files_of(tmp_path / "d")


def test_an_operating_point_is_its_threshold(tmp_path, pointed):
    """Each named point calls what its number calls, and is recorded; none is `balanced`; a number has no name."""
    detector, points = pointed
    for name, value in points.items():
        asked = ("--detector", detector, "--operating-point", name)
        assert detecting(tmp_path / name, *asked).code == 0
        found = read_detections(tmp_path / name / "detections.csv")
        facts = json.loads((tmp_path / name / "detect.json").read_text())
        assert (facts["operating_point"], facts["threshold"]) == (name, value)
        assert detecting(tmp_path / f"{name}-t", "--detector", detector, "--threshold", value).code == 0
        same = read_detections(tmp_path / f"{name}-t" / "detections.csv")
        assert found.is_figure.tolist() == same.is_figure.tolist()
        assert json.loads((tmp_path / f"{name}-t" / "detect.json").read_text())["operating_point"] is None
    counts = [int(read_detections(tmp_path / name / "detections.csv").is_figure.sum()) for name in points]
    assert counts[0] > counts[1] > counts[2]
    assert detecting(tmp_path / "bare", "--detector", detector).code == 0
    assert files_of(tmp_path / "bare") == files_of(tmp_path / "balanced")


def test_slides_done_elsewhere_are_at_the_same_point(tmp_path, pointed):
    """A mapper's tasks, which load the detector anew, give the bytes of the job done here."""
    asked = ("--detector", pointed[0], "--operating-point", "specific", "--format", "")
    assert detecting(tmp_path / "here", *asked).code == 0
    job = Scan(
        detector=pointed[0],
        operating_point="specific",
        items=items_of_images(images()[:1], mpp="0.25", roi=None),
        out=tmp_path / "there",
        origin=origin_of(None, None, None),
        compute=Compute.choose("cpu"),
        mapper=lambda function, tasks: [function(task) for task in tasks],
    )
    assert not scan(job).failed
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--operating-point", "sensitve"), "did you mean 'sensitive'? it has sensitive, balanced, specific"),
        (("--operating-point", "balanced", "--threshold", 0.5), "--threshold and --operating-point"),
        (("--detector", "swfit"), "did you mean 'swift'"),
        (("--detector", "RUN", "--operating-point", "sensitive"), "it has balanced"),
        (("--detector", "gone/detector"), "gone/detector: is missing"),
    ],
)
def test_what_a_detector_does_not_have_is_refused(tmp_path, pointed, words, said):
    """An unknown point with those there are, two ways to say one thing, an unknown name; nothing is written."""
    if "--detector" not in words:
        words = (*words, "--detector", pointed[0])
    told = detecting(tmp_path / "d", *(a_run() if word == "RUN" else word for word in words))
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("word", ["run", "detector", "name"])
def test_a_detector_among_the_slides_is_told_the_new_command(tmp_path, word):
    """The words of earlier versions: the message holds the whole command that does it now."""
    first = {"run": a_run(), "detector": a_run() / "detector", "name": DEFAULT}[word]
    told = mitosieve("detect", first, images()[0], "--out", tmp_path / "d")
    assert told.code == 2
    assert f"mitosieve detect {images()[0]} --detector {first} --out {tmp_path / 'd'}" in told.err
    told = mitosieve("detect", first, "--cohort", a_cohort(), "--split", a_split(), "--fold", "A", "--out", tmp_path)
    assert f"mitosieve detect --cohort {a_cohort()} ... --detector {first} --out {tmp_path}" in told.err
    assert not (tmp_path / "d").exists()


def test_a_folder_called_like_a_detector(tmp_path, monkeypatch):
    """The package's goes before it, which is said; ./NAME is the folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(a_run() / "detector", tmp_path / DEFAULT)
    told = detecting(tmp_path / "d", "--detector", DEFAULT)
    assert f"for the folder of that name write ./{DEFAULT}" in told.err
    assert json.loads((tmp_path / "d" / "detect.json").read_text())["detector"] == DEFAULT
    own = detecting(tmp_path / "own", "--detector", f"./{DEFAULT}")
    assert own.code == 0
    assert "for the folder of that name" not in own.err
    assert json.loads((tmp_path / "own" / "detect.json").read_text())["detector"] == str(tmp_path / DEFAULT)


def test_models_lists_the_box_and_shows_a_card():
    """A row a detector with scores and licence; NAME gives CARD.md as it lies in the package; --json the record."""
    header, *rows = [line.split("\t") for line in mitosieve("models").out.splitlines()]
    assert header == ["detector", "what it is", "trained on", "F1 [95 %]", "size", "speed", "weights"]
    assert [row[0].removesuffix(" (default)") for row in rows] == list(names())
    assert [row[0] for row in rows if row[0].endswith("(default)")] == [f"{DEFAULT} (default)"]
    assert all(all(row) and "CC BY-NC" in row[-1] for row in rows)
    for name in ("default", DEFAULT):
        assert mitosieve("models", name).out == (folder_of(DEFAULT) / "CARD.md").read_text()
    one = json.loads(mitosieve("models", DEFAULT, "--json").out)
    assert (one["name"], one["is_default"]) == (DEFAULT, True)
    assert one in json.loads(mitosieve("models", "--json").out)
    told = mitosieve("models", "swfit")
    assert (told.code, told.out) == (2, "")
    assert "did you mean 'swift'" in told.err


def test_models_shows_what_detect_takes(tmp_path, pointed, monkeypatch):
    """A run, its detector, one elsewhere and a copy of a shipped one: hash, networks, thresholds, what it learned from;
    a bare name of a folder is that folder.
    """
    detector, points = pointed
    digest = hash_file(detector / "detector.toml")
    told = mitosieve("models", detector)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith((detector / "CARD.md").read_text().strip())
    assert f"`{digest}`" in told.out
    assert all(f"| {name} | {value:.4f} |" in told.out for name, value in points.items())
    assert "is not known" in told.out
    one = json.loads(mitosieve("models", detector, "--json").out)
    assert (one["detector"]["sha256"], one["detector"]["operating_points"]) == (digest, points)
    assert one["learned"] == {"cases": [], "all_known": False}
    of_run = mitosieve("models", a_run()).out
    cases = json.loads(mitosieve("models", a_run(), "--json").out)["learned"]
    assert cases["all_known"]
    assert f"{len(cases['cases'])} cases: {', '.join(cases['cases'])}.\n" in of_run
    assert mitosieve("models", Path(a_run()) / "detector").out == of_run
    shutil.copytree(folder_of(DEFAULT), tmp_path / "copy")
    monkeypatch.chdir(tmp_path)
    assert (
        mitosieve("models", "copy").out.splitlines()[1:]
        == (folder_of(DEFAULT) / "CARD.md").read_text().splitlines()[1:]
    )


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("empty", "detector.toml: there is no detector here"),
        ("not there", "neither/here/detector.toml: there is no detector here"),
        ("lacks weights", "is missing from the detector"),
        ("altered", "was altered"),
        ("lacks stages", "does not describe a detector"),
        ("is a file", "there is no detector here"),
    ],
)
def test_models_says_of_a_folder_what_is_wrong_with_it(tmp_path, pointed, fault, said):
    """What is true of it, and not that it is not there; exit code 2."""
    folder = tmp_path / "own"
    shutil.copytree(pointed[0], folder)
    weights = next(folder.glob("*.safetensors"))
    named = folder
    if fault == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif fault == "not there":
        named = "neither/here"
    elif fault == "lacks weights":
        weights.unlink()
    elif fault == "altered":
        weights.write_bytes(weights.read_bytes()[:-1] + b"#")
    elif fault == "lacks stages":
        (folder / "detector.toml").write_text("format = 1\n")
    else:
        named = folder / "detector.toml"
    told = mitosieve("models", named)
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert "neither as a folder nor in the package" not in told.err
    assert "remedy" in told.err


@pytest.mark.parametrize("fault", ["altered", "no data"])
def test_a_box_that_is_not_whole(tmp_path, monkeypatch, fault):
    """models and detect say which file was altered, or that the package came without its data; exit code 2."""
    box = a_box(tmp_path / "box")
    monkeypatch.setattr(box_module, "BOX", box)
    monkeypatch.setattr(box_module, "DEFAULT", "tiny")
    weights = box / "tiny" / "only.safetensors"
    if fault == "altered":
        weights.write_bytes(weights.read_bytes()[:-1] + b"#")
    else:
        shutil.rmtree(box / "tiny")
    said = str(weights) if fault == "altered" else "the package holds no detector"
    for told in (detecting(tmp_path / "d"), mitosieve("models", "tiny")):
        assert (told.code, told.out) == (2, "")
        assert said in told.err
        assert "install mitosieve again" in told.err
    assert not (tmp_path / "d").exists()


def test_points_are_shown_where_a_detector_has_them(pointed):
    """describe() and detector.toml name them; a training's own detector has no such table."""
    assert "operating points: sensitive" in Detector.load(pointed[0]).describe()
    assert "operating_points" not in (Path(a_run()) / "detector" / "detector.toml").read_text()
    assert set(POINTS) == set(Detector.load(pointed[0]).config.points)


def test_a_count_with_a_detector_of_the_box_never_loads_torch(tmp_path):
    """In a fresh process, whose modules are told at its end: nothing that only training needs is there."""
    image = images()[0]
    asked = ["detect", str(image), "--mpp", "0.5", "--device", "cpu", "--engine", "onnxruntime", "--threads", "1"]
    program = (
        "import sys; from mitosieve.cli import main\n"
        f"sys.argv = ['mitosieve', *{asked!r}, '--out', {str(tmp_path / 'found')!r}]\n"
        "try: main()\nexcept SystemExit as end: print('ended', end.code)\n"
        "print('loaded', sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ended 0" in done.stdout, done.stderr
    loaded = ast.literal_eval(done.stdout.rpartition("loaded ")[2])
    assert "onnxruntime" in loaded
    assert not {"torch", "onnx", "sklearn", "lightning_fabric", "ray", "pandas", "matplotlib", "numba"} & set(loaded)
