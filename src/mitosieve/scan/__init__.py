"""A job: many slides through one detector into a folder, one finished file a slide, so that a killed job goes on."""

from mitosieve.scan.items import ScanItem, items_of_cohort, items_of_images, paths_of
from mitosieve.scan.job import Mapper, Scan, origin_of, scan
from mitosieve.scan.one import CountConfig, SlideResult, SlideTask, do_slide_alone
from mitosieve.scan.shard import parse_shard
from mitosieve.scan.tables import not_looked_at

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
]
