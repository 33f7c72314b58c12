"""Int8 graphs for a detector, measured: `python bench/quantize.py DETECTOR COHORT --split S --fold F --out FOLDER`.

Values between layers get their scale from patches of the fold's training cases, as the detector proposes and sieves
them. Average precision of float32 and of int8 is then measured on its validation cases (--part test: on the test cases,
a figure for the docs that chooses nothing). Where int8 loses 0.005 or more nothing is written; else FOLDER is the
detector with its graphs, for `mitosieve detect --engine int8`. Prints CPU seconds of both beside the precision.
"""

import argparse
import shutil
import time
import tomllib
from pathlib import Path

import numpy as np
import tomli_w
from numpy.typing import NDArray

from mitosieve.annotation import Label
from mitosieve.cohort.cohort import Cohort
from mitosieve.cohort.split import Split
from mitosieve.errors import DetectorError
from mitosieve.models.box import BOX, detector_folder, seal
from mitosieve.network.compute import Compute
from mitosieve.network.int8 import int8_bytes
from mitosieve.run.clock import Clock
from mitosieve.run.folder import hash_file
from mitosieve.score.evaluation import evaluate
from mitosieve.sieve.cascade import detect, sieve_tile
from mitosieve.sieve.detector import Detector
from mitosieve.sieve.stages import Judge, Scorer, plan_of
from mitosieve.sieve.tile_reader import TileReader, survey

IMAGES = 512
"""A stage sees so many in calibration; three times as many changed nothing."""


def seen_patches(detector: Detector, cohort: Cohort, cases: tuple[str, ...], slides: int) -> list[NDArray[np.uint8]]:
    """What each stage is given on some slides of the cases, evenly drawn."""
    chosen = [entry.slide_id for entry in cohort.of_cases(cases).slides]
    plan, scorer = plan_of(detector), Scorer(detector, Compute.choose("cpu"), Clock())
    seen: list[list[NDArray[np.uint8]]] = [[] for _ in detector.config.stages]
    for slide_id in chosen[:: max(1, len(chosen) // slides)]:
        with cohort.open(slide_id) as slide:
            reader = TileReader(slide, plan, survey(slide, plan))
            for core in (core for band in reader.bands() for core in band):
                asking = sieve_tile(scorer, core)
                answer = None
                while True:
                    try:
                        request = asking.send(answer)
                    except StopIteration:
                        break
                    if isinstance(request, Judge):
                        seen[request.stage].append(request.images.astype(np.uint8, copy=False))
                        answer = scorer.answers([request])[0]
                    else:
                        answer = reader.answer(request)
    generator = np.random.default_rng(0)
    whole = [np.concatenate(parts) for parts in seen]
    return [images[generator.permutation(len(images))[:IMAGES]] for images in whole]


def write(
    detector: Detector, folder: Path, images: list[NDArray[np.uint8]], stages: list[str]
) -> dict[str, list[list[str]]]:
    """Graphs of the named stages, or of all where none is named, and what detector.toml is to say of them."""
    names: list[list[str]] = []
    for stage, modules, seen in zip(detector.config.stages, detector.modules, images, strict=True):
        row = [f"{stage.name}-int8{'' if number == 0 else f'-{number + 1}'}.onnx" for number in range(len(modules))]
        if stages and stage.name not in stages:
            row = []
        for name, module in zip(row, modules[: len(row)], strict=True):
            (folder / name).write_bytes(int8_bytes(module, seen))
        names.append(row)
    return {"graphs": names, "sha256": [[hash_file(folder / name) for name in row] for row in names]}


def tell(folder: Path, graphs: dict[str, list[list[str]]], ap: float, ap_float32: float, where: str) -> Detector:
    """Write of the graphs into detector.toml, and load it."""
    content = tomllib.loads((folder / "detector.toml").read_text())
    made_of = [digest for stage in content["stages"] for digest in stage["sha256"]]
    said = {"ap": ap, "ap_float32": ap_float32, "measured_on": where, "made_of": made_of}
    content["int8"] = {**graphs, **said}
    (folder / "detector.toml").write_text(tomli_w.dumps(content))
    return Detector.load(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("detector")
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--part", default="validation", choices=("validation", "test"))
    parser.add_argument("--stages", default="", help="names, comma-separated: the others stay in float32")
    parser.add_argument("--slides", type=int, default=18, help="training slides that are looked at")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    source, cohort = detector_folder(asked.detector), Cohort.load(asked.cohort)
    fold = Split.load(asked.split).folds[asked.fold]
    cases = fold.validation if asked.part == "validation" else fold.test
    plain = Detector.load(source)
    shutil.copytree(source, asked.out)
    images = seen_patches(plain, cohort, fold.train, asked.slides)
    graphs = write(plain, asked.out, images, [name for name in asked.stages.split(",") if name])
    marks = len(cohort.of_cases(cases).annotations.with_label(Label.MITOTIC_FIGURE))
    where = f"{', '.join(cases)} ({marks} figures)"
    quick = tell(asked.out, graphs, 1.0, 1.0, where)  # not yet measured
    ap: dict[str, float] = {}
    for engine, detector in (("onnxruntime", plain), ("int8", quick)):
        start = time.process_time()
        found = detect(detector, cohort, cases=cases, compute=Compute.choose("cpu", engine=engine))
        ap[engine] = evaluate(found, cohort, cases=cases).ap
        print(f"{engine}: AP {ap[engine]:.4f} on {where}, {time.process_time() - start:.1f} CPU s", flush=True)
    try:
        tell(asked.out, graphs, round(ap["int8"], 6), round(ap["onnxruntime"], 6), where)
    except DetectorError as refused:
        shutil.rmtree(asked.out)
        raise SystemExit(f"nothing was written: {refused}") from refused
    if (asked.out / "files.sha256").exists():
        seal(asked.out)
    print(f"{asked.out}: {sum(path.stat().st_size for path in asked.out.iterdir()) / 1e6:.1f} MB; box {BOX}")


if __name__ == "__main__":
    main()
