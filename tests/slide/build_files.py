"""Image files of every kind, made from one picture."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image


def a_picture(width=230, height=170, seed=0):
    """Smooth tissue-like colours with fine grain, uint8 (h, w, 3) RGB."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(90, 250, (height // 8 + 2, width // 8 + 2, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + generator.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def with_pillow(pixels, kind, *, mode="RGB", **options):
    """Bytes of a file of Pillow's `kind` in `mode`."""
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image if image.mode == mode else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()


def a_png_header(width, height):
    """A PNG that claims a size and holds next to nothing: 60 bytes that would become gigabytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


def a_16_bit_png(pixels):
    """Bytes of a PNG of 16 bits a channel."""
    return cv2.imencode(".png", pixels.astype(np.uint16) * 257)[1].tobytes()
