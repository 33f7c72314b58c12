"""Which label formats there are; each one's layout is in the module of its name."""

from collections.abc import Mapping

from mitosieve.cohort import (
    asap,
    atypia14,
    coco,
    icpr12,
    image_scope,
    midog,
    points,
    qupath,
    slide_runner,
    tupac,
    voc,
    yolo,
)
from mitosieve.cohort.images import read as read_images
from mitosieve.cohort.marked import Reader

FORMATS: Mapping[str, Reader] = {
    "atypia14": atypia14.read,
    "icpr12": icpr12.read,
    "midog": midog.read,
    "tupac": tupac.read,
    "voc": voc.read,
    "points": points.read,
    "coco": coco.read,
    "slide_runner": slide_runner.read,
    "qupath": qupath.read,
    "yolo": yolo.read,
    "asap": asap.read,
    "image_scope": image_scope.read,
    "images": read_images,
}
"""Every format by the name used on the command line. To add one, write a `Reader` and name it here."""
