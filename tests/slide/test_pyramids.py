"""Laws of TIFF pyramids: which pages are levels, and that a cell has one size whatever the slide's resolution."""

import cv2
import numpy as np
import pytest
import tifffile
from build_files import a_picture
from build_slides import halves

from mitosieve.geometry import Region
from mitosieve.slide.slide import facts, open_slide

RGB = {"photometric": "rgb"}


def a_pyramid(path, levels, *, mpp=0.25, tile=64, sub_ifds=False, ome=False, compression="deflate"):
    """A tiled TIFF of the given pictures: pages one after another as Aperio's, or held by level 0 as OME's."""
    options = {"tile": (tile, tile), "compression": compression, **RGB}
    resolution = {"resolution": (10_000 / mpp, 10_000 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True, ome=ome) as file:
        if sub_ifds or ome:
            about = {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp} if ome else None
            file.write(levels[0], subifds=len(levels) - 1, metadata=about, **options, **resolution)
            for level in levels[1:]:
                file.write(level, subfiletype=1, metadata=None, **options)
        else:
            for number, level in enumerate(levels):
                file.write(level, subfiletype=int(number > 0), metadata=None, **options, **resolution)


def a_disc(mpp, *, diameter_um=12.0, width_um=180.0, center_um=(101.0, 83.0)):
    """A dark disc of a diameter in um on a field, scanned at `mpp`; drawn eight times too fine and averaged."""
    side, fine = round(width_um / mpp), 8
    pixels = np.full((side * fine, side * fine), 240, dtype=np.uint8)
    center = tuple(round(at / mpp * fine) for at in center_um)
    cv2.circle(pixels, center, round(diameter_um / 2 / mpp * fine), 60, -1)
    small = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return np.repeat(small[..., None], 3, axis=2)


@pytest.mark.parametrize("read_mpp", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("compression", ["deflate", "jpeg", "lzw"])
def test_a_cell_has_one_size(tmp_path, read_mpp, compression):
    """A disc of 12 um is equally large, and at one place, in what is read of slides of 0.2273, 0.25, 0.263 and 0.5."""
    areas, places = [], []
    for mpp in (0.2273, 0.25, 0.263, 0.5):
        if mpp > read_mpp * 1.1:
            continue
        path = tmp_path / f"{mpp}.tif"
        a_pyramid(path, halves(a_disc(mpp), 3), mpp=mpp, compression=compression)
        with open_slide(path) as slide:
            assert slide.mpp == pytest.approx(mpp, rel=1e-4)
            assert len(slide.levels) == 3
            dark = (240.0 - slide.read(mpp=read_mpp)[..., 1]) / 180
        dark[dark < 0.05] = 0
        areas.append(dark.sum() * read_mpp**2)
        rows, columns = np.mgrid[: dark.shape[0], : dark.shape[1]]
        places.append([((grid + 0.5) * dark).sum() / dark.sum() * read_mpp for grid in (columns, rows)])
    assert areas == pytest.approx([np.pi * 36] * len(areas), rel=0.03)
    assert np.abs(np.array(places) - (101.0, 83.0)).max() < 0.25


@pytest.mark.parametrize("how", [{}, {"sub_ifds": True}, {"ome": True}])
def test_levels_are_found_wherever_they_stand(tmp_path, how):
    """Pages in a row, sub-IFDs and OME-TIFF: the same levels, and each level's own pixels."""
    levels = halves(a_picture(301, 222), 3)
    a_pyramid(tmp_path / "a.tif", levels, **how)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert slide.levels == ((301, 222), (150, 111), (75, 55))
        for number, pixels in enumerate(levels):
            whole = Region(x=0, y=0, w=pixels.shape[1], h=pixels.shape[0])
            assert np.array_equal(slide.read_level(number, whole), pixels)
        assert slide.downsample(2) == (4, 4)


def test_thumbnail_and_label_are_no_levels(tmp_path):
    """Aperio's thumbnail (strips) and label (another shape) are passed over; the levels between them are found."""
    pixels = a_picture(512, 384)
    about = "Aperio Image Library\r\n512x384 |AppMag = 40|MPP = 0.2500"
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        tiles = {"tile": (64, 64), "compression": "deflate", "metadata": None, **RGB}
        file.write(pixels, description=about, **tiles)
        file.write(pixels[::4, ::4], description=about, metadata=None, **RGB)
        file.write(halves(pixels, 2)[1], description=about, **tiles)
        file.write(pixels[:40, :90], description="Aperio\r\nlabel 90x40", subfiletype=1, metadata=None, **RGB)
    assert facts(tmp_path / "a.svs").levels == ((512, 384), (256, 192))
    assert facts(tmp_path / "a.svs").notes == (
        "further pictures in the file, which are not looked at: thumbnail, label",
    )


@pytest.mark.parametrize(
    ("odd", "note"),
    [
        (a_picture(128, 40), "not as much smaller"),
        (a_picture(128, 96)[..., 0], "other colours"),
    ],
)
def test_odd_levels_are_ignored_with_a_note(tmp_path, odd, note):
    """A page that cannot be a level is named in the facts and never read."""
    pixels = a_picture(256, 192)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, tile=(64, 64), **RGB)
        file.write(odd, tile=(64, 64), subfiletype=1, photometric="rgb" if odd.ndim == 3 else "minisblack")
        file.write(halves(pixels, 3)[2], tile=(64, 64), subfiletype=1, **RGB)
    found = facts(tmp_path / "a.tif")
    assert found.levels == ((256, 192), (64, 48))
    assert any(note in line for line in found.notes)
    with open_slide(tmp_path / "a.tif", mpp=0.25) as slide:
        assert slide.read(mpp=0.6).shape == (80, 107, 3)


def test_a_truncated_level_is_ignored_with_a_note(tmp_path):
    """Where only a small level was cut off the slide is still read, from level 0."""
    levels = halves(a_picture(256, 192), 2)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(levels[0], tile=(64, 64), **RGB)
        file.write(levels[1], tile=(64, 64), subfiletype=1, **RGB)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as file:
        file.pages[1].tags["TileOffsets"].overwrite([10**8] * 4)
    found = facts(tmp_path / "a.tif")
    assert found.levels == ((256, 192),)
    assert any("truncated" in line for line in found.notes)


def test_only_the_chosen_level_is_decoded(tmp_path):
    """A look from afar decodes the small level alone."""
    a_pyramid(tmp_path / "a.tif", halves(a_picture(512, 384), 3))
    with open_slide(tmp_path / "a.tif") as slide:
        slide.thumbnail(1.0)
        assert {level for level, _ in slide._cache} == {2}


@pytest.mark.data
def test_levels_of_a_real_slide_agree(data_folder):
    """The half of a real slide that its scanner stored is the half that is made from level 0, to a tenth of a px."""
    with open_slide(data_folder / "wsi" / "tcga-cr-7395-01a-01-ts1.svs", mpp=0.5) as slide:
        region = Region(x=1000, y=1000, w=1024, h=1024)
        stored, made = slide.read(region, 1.0)[..., 1], slide.read_l0(region)[..., 1]
        made = cv2.resize(made, (512, 512), interpolation=cv2.INTER_AREA)
        assert slide.level_for(1.0) == 1
    shift, response = cv2.phaseCorrelate(
        stored.astype(np.float32), made.astype(np.float32), cv2.createHanningWindow((512, 512), cv2.CV_32F)
    )
    assert np.abs(shift).max() < 0.1
    assert response > 0.5
