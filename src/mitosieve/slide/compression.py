"""How strongly an image file was compressed, by its own tables. Opens headers, decodes nothing."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from mitosieve.errors import SlideError

_LUMINANCE_SUM = 3688.0
"""Sum of the luminance table of ITU-T T.81, table K.1, which libjpeg's quality 50 writes as it is."""


def jpeg_quality(path: Path) -> int | None:
    """The quality of libjpeg's scale whose luminance table comes nearest to the file's; None where it is no JPEG, as a
    folder is none, of a DICOM slide.

    Scale of quality q: 5000 / q per cent of the table below 50, 200 - 2 q from there on (libjpeg, jcparam.c).

    Raises:
        SlideError: the file is not there, or the system does not give it.
    """
    if path.is_dir():
        return None
    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None) if image.format == "JPEG" else None
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
    except OSError as error:
        if error.errno is None:  # Pillow's own, of a file that it does not read to its end
            return None
        raise SlideError(f"cannot be read ({error.strerror})", where=path, remedy="put the file back") from error
    if not tables:
        return None
    wanted = float(sum(tables[min(tables)]))
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    expected = np.maximum(_LUMINANCE_SUM * scale / 100, 64)
    return int(quality[np.argmin(np.abs(expected - wanted))])
