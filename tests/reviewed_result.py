"""A result of `detect` on real slides by a tiny detector that never saw them, and decisions about it."""

from mitosieve.count.summary import SlideFindings, summarize, write_slide_summary, write_summary
from mitosieve.detection import Detections
from mitosieve.export.table import write_detections
from mitosieve.review.decision import Decision
from mitosieve.review.result import FoundResult
from mitosieve.run import layout
from mitosieve.run.folder import RunFolder, write_json

DETECTOR = "d" * 64
MPP = 0.5


def a_result(
    folder,
    points,
    *,
    size_l0=(8000, 6000),
    threshold=0.5,
    paths=None,
    tissue_mm2=None,
    detector=DETECTOR,
    mpp_xy=(MPP, MPP),
    tissue="breast",
    ground=None,
):
    """A folder as `detect` leaves it: `points` is slide_id -> [(x, y, score), ...] in level-0 px at 0.5 um per px."""
    counts = {"area_mm2": 2.0, "shape": "square", "tissue": tissue}
    RunFolder.create(folder, {"threshold": threshold, "counts": counts}, kind=layout.Kind.DETECT, resume=False)
    parts, summaries = [], []
    for slide_id, rows in points.items():
        found = Detections.of(
            slide_id=[slide_id] * len(rows),
            center_l0=[(x, y) for x, y, _ in rows],
            score=[score for *_, score in rows],
            threshold=threshold,
        )
        findings = SlideFindings(
            slide_id=slide_id, mpp_xy=mpp_xy, size_l0=size_l0, tissue_mm2=tissue_mm2, detections=found, ground=ground,
            proposer="spots", threshold=threshold,
        )  # fmt: skip
        summaries.append(summarize(findings, tissue=tissue))
        write_slide_summary(folder / layout.SLIDE_SUMMARIES / f"{slide_id}.json", summaries[-1])
        parts.append(found)
    write_summary(folder / layout.SUMMARY, summaries)
    write_detections(folder / layout.DETECTIONS, Detections.concatenate(parts), detector=detector)
    request = {"detector": "tiny", "detector_hash": detector, "threshold": threshold, "slides": paths or {}}
    write_json(folder / layout.REQUEST, request)
    return FoundResult.load(folder)


def judge(result, row, verdict, reader="anna", how="gallery"):
    """A verdict about a detection of a result."""
    x, y = result.detections.center_l0[row].tolist()
    return Decision.now(
        kind="verdict", slide_id=str(result.detections.slide_id[row]), reader=reader, how=how,
        detection_id=str(result.ids[row]), x_px=x, y_px=y, verdict=verdict, detector=result.detector_hash,
        score=float(result.detections.score[row]),
    )  # fmt: skip


def add(slide_id, x, y, verdict="figure", reader="anna"):
    """A cell that a reader added."""
    return Decision.now(kind="added", slide_id=slide_id, reader=reader, how="slide", x_px=x, y_px=y, verdict=verdict)


def look(slide_id, corners, reader="anna", how="hotspot"):
    """An area that a reader went through."""
    return Decision.now(kind="looked", slide_id=slide_id, reader=reader, how=how, area=corners)
