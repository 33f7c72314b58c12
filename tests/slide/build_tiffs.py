"""TIFFs as programs write them that put more into a file than one picture: OME scenes, Aperio pictures, odd tags."""

import struct

import numpy as np
import tifffile
from build_slides import RGB, halves

TILES = {"tile": (64, 64), "compression": "deflate", "metadata": None, **RGB}
ABOUT = "Aperio Image Library v11.2.1 \r\n{w}x{h} (64x64) JPEG/RGB Q=95|AppMag = 40|MPP = {mpp}"


def an_ome_image(number, name, pixels, mpp, *, ifd=None, unit="\u00b5m", data=""):
    """The element of one RGB image on one page; `mpp` is a number or text, `ifd` its page, by default its number."""
    h, w = pixels.shape[:2]
    unit = "" if unit is None else f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    data = data or f'<TiffData IFD="{number if ifd is None else ifd}" PlaneCount="1"/>'
    return (
        f'<Image ID="Image:{number}" Name="{name}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" Type="uint8" '
        f'SizeX="{w}" SizeY="{h}" SizeZ="1" SizeC="3" SizeT="1" PhysicalSizeX="{mpp}" PhysicalSizeY="{mpp}"{unit}>'
        f'<Channel ID="Channel:{number}:0" SamplesPerPixel="3"/>{data}</Pixels></Image>'
    )


def ome_xml(*images):
    """The description of a file with these images, as bytes."""
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{schema}">{"".join(images)}</OME>'.encode()


def an_ome_tiff(path, scenes, *, unit="\u00b5m", levels=1):
    """A file of images (name, pixels, mpp), each a page with its smaller levels in sub-IFDs."""
    elements = [an_ome_image(n, name, pixels, mpp, unit=unit) for n, (name, pixels, mpp) in enumerate(scenes)]
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, (_, pixels, _) in enumerate(scenes):
            about = ome_xml(*elements) if number == 0 else None
            file.write(pixels, subifds=levels - 1, description=about, **TILES)
            for level in halves(pixels, levels)[1:]:
                file.write(level, subfiletype=1, **TILES)
    return path


def an_svs(path, pixels, *, levels=3, mpp="0.2500", thumbnail=True, label=None, macro=None, compression="deflate"):
    """Aperio's order: level 0, thumbnail, the other levels, label, macro."""
    tiles = {**TILES, "compression": compression}
    strips = {"metadata": None, "rowsperstrip": 16, **RGB}
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate(halves(pixels, levels)):
            about = ABOUT.format(w=level.shape[1], h=level.shape[0], mpp=mpp)
            file.write(level, description=about, **tiles)
            if number == 0 and thumbnail:
                file.write(pixels[::3, ::3], description="Aperio Image Library v11.2.1 \r\n- |AppMag = 40", **strips)
        for kind, picture, name in ((1, label, "label"), (9, macro, "macro")):
            if picture is not None:
                text = f"Aperio Image Library v11.2.1 \r\n{name} {picture.shape[1]}x{picture.shape[0]}"
                file.write(picture, subfiletype=kind, description=text, **strips)
    return path


def without_bytes(path, page, tiles):
    """Make tiles of a page those of a sparse file: no place and no bytes; `page` as tifffile counts, or (page, sub)."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        found = file.pages[page] if isinstance(page, int) else file.pages[page[0]].pages[page[1]]
        for tile in tiles:
            for tag in (found.aspage().tags[name] for name in ("TileOffsets", "TileByteCounts")):
                size = {3: 2, 4: 4, 16: 8}[int(tag.dtype)]
                start = tag.valueoffset + tile * size
                content[start : start + size] = bytes(size)
    path.write_bytes(content)
    return path


def with_tag(path, name, kind, value):
    """Write a tag of the first page anew, inline: TIFF type and the four bytes of a little-endian file."""
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags[name].offset
    content[at + 2 : at + 12] = struct.pack("<HI", kind, 1) + value
    path.write_bytes(content)
    return path


def a_grid(width, height, *, seed=0, cell=16):
    """Blocks of random colours: pictures of another seed have nothing in common."""
    small = np.random.default_rng(seed).integers(40, 240, (height // cell + 1, width // cell + 1, 3), dtype=np.uint8)
    return np.repeat(np.repeat(small, cell, axis=0), cell, axis=1)[:height, :width]
