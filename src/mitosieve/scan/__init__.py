"""A job: many slides through one detector into a folder, one finished file a slide, so that a killed job goes on.

Its names are imported when first asked for: a word of the command line for a part of a job is checked without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mitosieve.scan.expected import Expected, expected_of
    from mitosieve.scan.items import ScanItem, items_of_cohort, items_of_images
    from mitosieve.scan.job import Mapper, Scan, Scanned, scan
    from mitosieve.scan.one import do_slide_alone
    from mitosieve.scan.paths import paths_of
    from mitosieve.scan.shard import parse_shard
    from mitosieve.scan.tables import failed_slides, origin_of, read_request, write_request
    from mitosieve.scan.task import CountConfig, SlideResult, SlideTask

__all__ = [
    "CountConfig",
    "Expected",
    "Mapper",
    "Scan",
    "ScanItem",
    "Scanned",
    "SlideResult",
    "SlideTask",
    "do_slide_alone",
    "expected_of",
    "failed_slides",
    "items_of_cohort",
    "items_of_images",
    "origin_of",
    "parse_shard",
    "paths_of",
    "read_request",
    "scan",
    "write_request",
]

_HOME = {
    "expected": ("Expected", "expected_of"),
    "items": ("ScanItem", "items_of_cohort", "items_of_images"),
    "job": ("Mapper", "Scan", "Scanned", "scan"),
    "one": ("do_slide_alone",),
    "paths": ("paths_of",),
    "shard": ("parse_shard",),
    "tables": ("failed_slides", "origin_of", "read_request", "write_request"),
    "task": ("CountConfig", "SlideResult", "SlideTask"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one door for names of different types
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(f"mitosieve.scan.{module}"), name)
    raise AttributeError(f"module 'mitosieve.scan' has no attribute '{name}'")
