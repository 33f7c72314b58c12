"""The quality of a JPEG is read from its tables."""

import cv2
import numpy as np
import pytest

from build import an_image
from mitosieve.errors import SlideError
from mitosieve.slide.compression import jpeg_quality


@pytest.mark.parametrize("quality", [30, 50, 60, 75, 85, 90, 95, 98])
def test_the_quality_that_was_written_is_read(tmp_path, quality):
    """Whatever the picture, within one step of libjpeg's scale."""
    pixels = np.random.default_rng(quality).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    path = tmp_path / "a.jpg"
    assert cv2.imwrite(str(path), pixels, (cv2.IMWRITE_JPEG_QUALITY, quality))
    assert abs(jpeg_quality(path) - quality) <= 1


def test_other_files_have_none(tmp_path):
    """A PNG and a text are no JPEG; of a file that is not there nothing is known, and that is told."""
    an_image(tmp_path / "a.png")
    (tmp_path / "b.jpg").write_text("no picture")
    (tmp_path / "dicom").mkdir()
    assert [jpeg_quality(tmp_path / name) for name in ("a.png", "b.jpg", "dicom")] == [None, None, None]
    with pytest.raises(SlideError, match=r"c\.jpg: cannot be read"):
        jpeg_quality(tmp_path / "c.jpg")
