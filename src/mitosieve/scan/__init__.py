"""A job: many slides through one detector into a folder, one finished file a slide, so that a killed job goes on."""

from mitosieve.scan.items import ScanItem, items_of_cohort, items_of_images
from mitosieve.scan.job import Mapper, Scan, scan
from mitosieve.scan.one import do_slide_alone
from mitosieve.scan.paths import paths_of
from mitosieve.scan.shard import parse_shard
from mitosieve.scan.tables import not_looked_at, origin_of, write_request
from mitosieve.scan.task import CountConfig, SlideResult, SlideTask

__all__ = [
    "CountConfig",
    "Mapper",
    "Scan",
    "ScanItem",
    "SlideResult",
    "SlideTask",
    "do_slide_alone",
    "items_of_cohort",
    "items_of_images",
    "not_looked_at",
    "origin_of",
    "parse_shard",
    "paths_of",
    "scan",
    "write_request",
]
