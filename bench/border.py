"""Do cells at a border score higher than the same cells inside? Scores of a trained detector's last stage, both ways.

The same cells (marked figures, marked imposters, random background) are shown as they are, and with everything beyond a
straight edge a few px from the cell replaced by the slide's background colour, as at the border of a frame.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mitosieve import Cohort, Detector, Split
from mitosieve.annotation import Label
from mitosieve.geometry import rescale_points
from mitosieve.network.compute import Compute
from mitosieve.patch.cutting import cut_patches, margin_for
from mitosieve.patch.frames import Frame, look_at, render
from mitosieve.sieve import stages

EDGES_PX = (4, 16, 32, 48)


def score_at(stage, networks, frame, center, compute) -> float:  # noqa: ANN001
    """What a stage says of one place of a frame, as a sieve would; of a vote its first network."""
    images = stage.view.images(cut_patches(frame, center[None], patch_px=stage.patch_px))
    return float(stages._columns(stage, networks, images, compute)[0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", required=True)
    parser.add_argument("--part", default="test")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    detector, compute = Detector.load(asked.run), Compute.choose()
    part = Cohort.load(asked.cohort).of_cases(Split.load(asked.split).fold(asked.fold).part(asked.part))
    stage, networks = detector.config.stages[-1], detector.modules[-1]
    mpp, generator = detector.config.frame.mpp, np.random.default_rng(0)
    found: dict[str, list[np.ndarray]] = {"figures": [], "imposters": [], "background": []}
    for entry in part.slides:
        with part.open(entry.slide_id) as slide:
            look = look_at(slide, detector.stain_target)
            frame = render(slide, slide.bounds, mpp=mpp, margin_px=margin_for(stage.patch_px), look=look)
        marks = part.annotations.of_slide(entry.slide_id)
        random = generator.uniform(100, min(slide.size_l0) - 100, (20, 2))
        places = {
            "figures": marks.with_label(Label.MITOTIC_FIGURE).center_l0,
            "imposters": marks.with_label(Label.IMPOSTER).center_l0,
            "background": random,
        }
        for kind, centers_l0 in places.items():
            for center in rescale_points(centers_l0, mpp_from=slide.mpp, mpp_to=mpp):
                rows = [score_at(stage, networks, frame, center, compute)]
                for edge in EDGES_PX:
                    cut = round(center[0] - frame.origin_px[0]) - edge
                    pixels = frame.pixels.copy()
                    pixels[:, : max(0, cut)] = look.background
                    shown = Frame(pixels=pixels, origin_px=frame.origin_px)
                    rows.append(score_at(stage, networks, shown, center, compute))
                found[kind].append(np.array(rows))
    print(f"threshold {stage.threshold:.3f}; mean score (share at or above the threshold)")
    print("cells", "inside", *(f"edge at {edge} px" for edge in EDGES_PX), sep="\t")
    for kind, rows in found.items():
        scores = np.array(rows)
        cells = (f"{s.mean():.3f} ({(s >= stage.threshold).mean():.3f})" for s in scores.T)
        print(f"{kind} ({len(scores)})", *cells, sep="\t")


if __name__ == "__main__":
    main()
