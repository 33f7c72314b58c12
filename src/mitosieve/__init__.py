"""mitosieve: find mitotic figures in H&E histology, and train the detectors that do, with hard-example mining.

The public names, in the order of use; each is imported when first asked for, so that `import mitosieve` costs nothing.
Research use only, not for diagnosis.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mitosieve.annotation import Annotations, Label
    from mitosieve.cohort.cohort import Cohort
    from mitosieve.cohort.split import Split
    from mitosieve.detection import Detections
    from mitosieve.errors import MitosieveError
    from mitosieve.score.evaluation import Evaluation, evaluate
    from mitosieve.sieve.cascade import detect
    from mitosieve.sieve.detector import Detector
    from mitosieve.slide.slide import open_slide

__version__ = "0.1.0"

__all__ = [
    "Cohort",
    "Split",
    "Detector",
    "detect",
    "evaluate",
    "open_slide",
    "Annotations",
    "Label",
    "Detections",
    "Evaluation",
    "MitosieveError",
    "__version__",
]

_HOME = {
    "Cohort": "cohort.cohort",
    "Split": "cohort.split",
    "Detector": "sieve.detector",
    "detect": "sieve.cascade",
    "evaluate": "score.evaluation",
    "open_slide": "slide.slide",
    "Annotations": "annotation",
    "Label": "annotation",
    "Detections": "detection",
    "Evaluation": "score.evaluation",
    "MitosieveError": "errors",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one door for names of different types
    if name not in _HOME:
        raise AttributeError(f"module 'mitosieve' has no attribute '{name}'")
    value = getattr(import_module(f"mitosieve.{_HOME[name]}"), name)
    globals()[name] = value
    return value
