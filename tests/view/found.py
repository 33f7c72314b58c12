"""A result of detect made by hand: real slides on disk, detections drawn by lot, the files that detect writes."""

import json

import cv2
import numpy as np
import tifffile

from mitosieve.count.summary import SlideFindings, summarize, write_slide_summary, write_summary
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.run.folder import RUN_FORMAT

MPP = 0.25
DETECTOR_HASH = "d" * 64
AREA_MM2 = 0.05
"""Of the hotspot: half a slide, which a hotspot needs more tissue than."""


def a_slide(path, *, width=1500, height=1100, seed=0, levels=(1,), mpp=MPP):
    """A tiled TIFF of coarse noise, so that a shift of one px is seen; returns its pixels."""
    generator = np.random.default_rng(seed)
    small = generator.integers(90, 250, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    pixels = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path) as file:
        for scale in levels:
            size = (width // scale, height // scale)
            file.write(
                cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if scale > 1 else pixels,
                tile=(256, 256),
                photometric="rgb",
                compression="deflate",
                subfiletype=int(scale > 1),
                metadata=None,
                resolution=(1e4 / (mpp * scale),) * 2,
                resolutionunit=3,
            )
    return pixels


def some_detections(slide_id, *, n=60, size=(1500, 1100), seed=0, threshold=0.5):
    generator = np.random.default_rng(seed)
    screening = generator.uniform(0.3, 1, n).round(6)
    score = generator.uniform(0, 1, n).round(6)
    return Detections.of(
        slide_id=[slide_id] * n,
        center_l0=(generator.uniform(20, np.array(size) - 20, (n, 2))).round(3),
        score=score,
        threshold=threshold,
        stage_names=("screening", "refined"),
        stage_score=np.column_stack([screening, score]),
    )


def a_result(folder, *, names=("one", "two"), slides=None, n=60, threshold=0.5, size=(1500, 1100), area_mm2=AREA_MM2):
    """A folder of detect; its slides lie in `slides`, by default beside it."""
    where = folder.parent / "slides" if slides is None else slides
    every, summaries, paths = [], [], {}
    for seed, name in enumerate(names):
        file = where / f"{''.join(sign if sign.isalnum() else '_' for sign in name)}.tif"
        a_slide(file, width=size[0], height=size[1], seed=seed)
        found = some_detections(name, n=n, seed=seed, threshold=threshold, size=size)
        findings = SlideFindings(
            slide_id=name,
            mpp_xy=(MPP, MPP),
            size_l0=size,
            tissue_mm2=size[0] * size[1] * MPP**2 / 1e6,
            detections=found,
            proposer="spots",
            threshold=threshold,
        )
        every.append(found)
        summaries.append(summarize(findings, area_mm2=area_mm2, tissue="breast"))
        paths[name] = str(file.resolve())
    folder.mkdir(parents=True)
    write_detections(folder / "detections.csv", Detections.concatenate(every), detector=DETECTOR_HASH)
    write_summary(folder / "summary.csv", summaries)
    for number, summary in enumerate(summaries):
        write_slide_summary(folder / "summaries" / f"{number}.json", summary)
    counts = {"area_mm2": area_mm2, "shape": "square", "tissue": "breast"}
    mark = {"format": RUN_FORMAT, "kind": "detect", "provenance": {"counts": counts, "threshold": threshold}}
    (folder / "run.json").write_text(json.dumps(mark))
    request = {
        "detector": "swift",
        "detector_hash": DETECTOR_HASH,
        "slides": paths,
        "threshold": threshold,
        "cohort": None,
    }
    (folder / "detect.json").write_text(json.dumps(request))
    return folder
