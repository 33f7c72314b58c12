"""Small true files as scanners write them: Leica SCN, Trestle, and DICOM whole slides."""

import cv2
import numpy as np
import tifffile
from pydicom import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

RGB = {"photometric": "rgb"}
FINE = [cv2.IMWRITE_JPEG_QUALITY, 97, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]


def halves(pixels, count):
    """The picture and its halves, by means of 2 x 2 px."""
    levels = [pixels]
    for _ in range(count - 1):
        h, w = (side // 2 * 2 for side in levels[-1].shape[:2])
        levels.append(cv2.resize(levels[-1][:h, :w], (w // 2, h // 2), interpolation=cv2.INTER_AREA))
    return levels


def an_scn(path, pixels, *, corner_px, whole_px, mpp=0.5, levels=2):
    """A Leica slide: `pixels` were scanned at `corner_px` of a glass of `whole_px` (width, height)."""
    nm = round(mpp * 1000)
    pages = halves(pixels, levels)
    dimensions = "".join(
        f'<dimension r="{n}" ifd="{n}" sizeX="{page.shape[1]}" sizeY="{page.shape[0]}"/>'
        for n, page in enumerate(pages)
    )
    h, w = pixels.shape[:2]
    xml = f"""<?xml version="1.0"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">
 <collection name="c" sizeX="{whole_px[0] * nm}" sizeY="{whole_px[1] * nm}">
  <image name="i"><creationDate>2024-01-01</creationDate><device model="m" version="1"/>
   <pixels sizeX="{w}" sizeY="{h}">{dimensions}</pixels>
   <view sizeX="{w * nm}" sizeY="{h * nm}" offsetX="{corner_px[0] * nm}" offsetY="{corner_px[1] * nm}"/>
   <scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
    <illuminationSettings><numericalAperture>0.4</numericalAperture>
     <illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings>
  </image>
 </collection>
</scn>"""
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for n, page in enumerate(pages):
            per_cm = 10_000 / (mpp * 2**n)
            file.write(
                page,
                tile=(64, 64),
                compression="deflate",
                description=xml if n == 0 else None,
                metadata=None,
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                **RGB,
            )


def a_dicom_level(path, pixels, *, mpp_xy, series="1.2.3", tile=64, jpeg=False, number=0):
    """One level of a DICOM whole slide, tiles in order, stored plainly or as JPEG."""
    h, w = pixels.shape[:2]
    rows, columns = -(-h // tile), -(-w // tile)
    padded = np.pad(pixels, ((0, rows * tile - h), (0, columns * tile - w), (0, 0)), constant_values=255)
    tiles = [padded[y * tile : (y + 1) * tile, x * tile : (x + 1) * tile] for y in range(rows) for x in range(columns)]
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = VLWholeSlideMicroscopyImageStorage
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[series, str(number)])
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = "1.2.9", series, f"{series}.8"
    image.PatientID, image.PatientName, image.PatientBirthDate, image.PatientSex = "p", "P", "", ""
    image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20240101", "101010", "1", "1"
    image.ReferringPhysicianName, image.SeriesNumber, image.InstanceNumber = "", 1, number + 1
    image.Modality, image.Manufacturer, image.ManufacturerModelName = "SM", "maker", "model"
    image.DeviceSerialNumber, image.SoftwareVersions, image.PositionReferenceIndicator = "1", "1", "SLIDE_CORNER"
    image.ContentDate, image.ContentTime, image.AcquisitionDateTime = "20240101", "101010", "20240101101010"
    image.ContainerIdentifier, image.VolumetricProperties = "glass", "VOLUME"
    image.ImageType = [
        "ORIGINAL" if number == 0 else "DERIVED",
        "PRIMARY",
        "VOLUME",
        "NONE" if number == 0 else "RESAMPLED",
    ]
    image.SpecimenLabelInImage, image.BurnedInAnnotation, image.FocusMethod = "NO", "NO", "AUTO"
    image.ExtendedDepthOfField, image.LossyImageCompression = "NO", "01" if jpeg else "00"
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows, image.TotalPixelMatrixFocalPlanes = w, h, 1
    image.ImagedVolumeWidth, image.ImagedVolumeHeight, image.ImagedVolumeDepth = (
        w * mpp_xy[0] / 1e3,
        h * mpp_xy[1] / 1e3,
        0.001,
    )
    image.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    origin = Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 20.0, 40.0
    image.TotalPixelMatrixOriginSequence = Sequence([origin])
    image.DimensionOrganizationType, image.NumberOfFrames, image.NumberOfOpticalPaths = "TILED_FULL", len(tiles), 1
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [f"{mpp_xy[1] / 1e3:.10g}", f"{mpp_xy[0] / 1e3:.10g}"], 0.001
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    image.SharedFunctionalGroupsSequence = Sequence([shared])
    light = Dataset()
    light.OpticalPathIdentifier, light.IlluminationWaveLength = "0", 550.0
    image.OpticalPathSequence = Sequence([light])
    image.Rows = image.Columns = tile
    image.SamplesPerPixel, image.PlanarConfiguration = 3, 0
    image.PhotometricInterpretation = "YBR_FULL_422" if jpeg else "RGB"
    image.BitsAllocated = image.BitsStored = 8
    image.HighBit, image.PixelRepresentation = 7, 0
    if jpeg:
        frames = [cv2.imencode(".jpg", part[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes() for part in tiles]
        image.PixelData = encapsulate(frames)
        image["PixelData"].is_undefined_length = True
    else:
        image.PixelData = b"".join(part.tobytes() for part in tiles)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save_as(path, enforce_file_format=True)


def a_dicom_slide(folder, pixels, *, mpp_xy=(0.25, 0.25), levels=2, **options):
    """A folder with one file per level."""
    for number, level in enumerate(halves(pixels, levels)):
        mpp = tuple(side * 2**number for side in mpp_xy)
        a_dicom_level(folder / f"level{number}.dcm", level, mpp_xy=mpp, number=number, **options)
    return folder


def a_vms(path, pixels, *, mpp=0.25):
    """A Hamamatsu slide: a text file beside two JPEGs with restart markers, the slide and its map."""
    h, w = pixels.shape[:2]
    for name, image in (("image.jpg", pixels), ("map.jpg", halves(pixels, 3)[2])):
        options = [*FINE, cv2.IMWRITE_JPEG_RST_INTERVAL, 4]
        (path.parent / name).write_bytes(cv2.imencode(".jpg", image[..., ::-1], options)[1].tobytes())
    lines = [
        "[Virtual Microscope Specimen]", "NoLayers=1", "NoJpegColumns=1", "NoJpegRows=1", "ImageFile=image.jpg",
        "MapFile=map.jpg", "SourceLens=40", f"PhysicalWidth={round(w * mpp * 1000)}",
        f"PhysicalHeight={round(h * mpp * 1000)}",
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def a_mirax(path, pixels, *, corner=(4, 2), across=(10, 8), side=64, mpp=0.25):
    """A MIRAX slide of JPEG images of `side` px, which begin at image `corner`; a level and its half."""
    folder = path.with_suffix("")
    folder.mkdir()
    path.write_bytes(cv2.imencode(".jpg", pixels[::4, ::4, ::-1])[1].tobytes())
    name, data, pages = "0123456789ABCDEF", b"01.02" + b"0" * 32, []
    for zoom, level in enumerate(halves(pixels, 2)):
        entries = []
        step = 2**zoom
        for y in range(level.shape[0] // side):
            for x in range(level.shape[1] // side):
                image = level[y * side : (y + 1) * side, x * side : (x + 1) * side, ::-1]
                content = cv2.imencode(".jpg", image, FINE)[1].tobytes()
                place = (corner[1] + y * step) * across[0] + corner[0] + x * step
                entries.append((place, len(data), len(content), 0))
                data += content
        pages.append(entries)
    (folder / "Data0000.dat").write_bytes(data)
    index = b"01.02" + name.encode()
    table = len(index) + 8
    index += np.array([table, 0], dtype="<i4").tobytes()
    start = table + 4 * len(pages)
    heads, body = [], b""
    for entries in pages:
        heads.append(start + len(body))
        page = start + len(body) + 8
        body += np.array([0, page, len(entries), 0, *np.ravel(entries)], dtype="<i4").tobytes()
    (folder / "Index.dat").write_bytes(index + np.array(heads, dtype="<i4").tobytes() + body)
    lines = [
        "[GENERAL]", "SLIDE_VERSION=01.02", f"SLIDE_ID={name}",
        f"IMAGENUMBER_X={across[0]}", f"IMAGENUMBER_Y={across[1]}",
        "OBJECTIVE_MAGNIFICATION=40", "CameraImageDivisionsPerSide=1",
        "[HIERARCHICAL]", "HIER_COUNT=1", "NONHIER_COUNT=0", "INDEXFILE=Index.dat",
        "HIER_0_NAME=Slide zoom level", f"HIER_0_COUNT={len(pages)}",
        *(f"HIER_0_VAL_{zoom}_SECTION=ZOOM{zoom}" for zoom in range(len(pages))),
        "[DATAFILE]", "FILE_COUNT=1", "FILE_0=Data0000.dat",
    ]  # fmt: skip
    for zoom in range(len(pages)):
        lines += [
            f"[ZOOM{zoom}]", "OVERLAP_X=0", "OVERLAP_Y=0", f"MICROMETER_PER_PIXEL_X={mpp * 2**zoom}",
            f"MICROMETER_PER_PIXEL_Y={mpp * 2**zoom}", "IMAGE_FORMAT=JPEG", "IMAGE_FILL_COLOR_BGR=16777215",
            f"DIGITIZER_WIDTH={side}", f"DIGITIZER_HEIGHT={side}", f"IMAGE_CONCAT_FACTOR={zoom}",
        ]  # fmt: skip
    (folder / "Slidedat.ini").write_text("\n".join(lines) + "\n")
