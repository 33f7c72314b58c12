"""What a grand-challenge point file says, read independently of how this package writes it."""

import json

import numpy as np

from mitosieve.detection import Detections


def read_points(path, mpp, slide_id):
    """Points as detections, in their order; one without a name is a figure, one without a probability scores 1."""
    points = json.loads(path.read_text(encoding="utf-8"))["points"]
    return Detections(
        slide_id=np.array([slide_id] * len(points), dtype=np.str_),
        center_l0=np.array([point["point"][:2] for point in points]).reshape(-1, 2) * 1000 / np.array(mpp),
        score=np.array([point.get("probability", 1.0) for point in points], dtype=np.float64),
        is_figure=np.array([point.get("name", "mitotic figure") == "mitotic figure" for point in points], dtype=bool),
        stage_names=(),
        stage_score=np.zeros((len(points), 0)),
    )
