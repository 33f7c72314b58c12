"""Draw docs/images/phantom.png: a field of three scanners, and rows of cells by kind.

Run: .venv/bin/python docs/make_phantom_picture.py
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mitosieve.cohort.cohort import Cohort
from mitosieve.phantom import Kind, PhantomConfig, PhantomTruth, make_phantom, read_truth
from mitosieve.phantom.cell import FIGURE_SHARES, IMPOSTER_SHARES

TARGET = Path(__file__).parent / "images" / "phantom.png"
SEED, VIEW_PX, FIELD_PX = 20, 520, 294
CROP_PX, SHOWN_PX, COLUMNS = 56, 56, 13
LABEL_PX, GAP_PX = 110, 3
SHOWN_KINDS = (*FIGURE_SHARES, *IMPOSTER_SHARES, Kind.EPITHELIAL, Kind.HYPERCHROMATIC)


def main() -> None:
    """Draw a small phantom and lay it out."""
    config = PhantomConfig(cases=9, slides_per_case=1, figures_per_mm2=260.0, imposters_per_mm2=260.0, difficulty=0.15)
    with tempfile.TemporaryDirectory() as name:
        cohort = make_phantom(Path(name) / "phantom", config, np.random.default_rng(SEED))
        truth = read_truth(cohort.folder)
        picture = compose(fields(cohort), {kind: crops(cohort, truth, kind) for kind in SHOWN_KINDS})
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    # a palette keeps the file small
    picture.quantize(colors=72, dither=Image.Dither.NONE).save(TARGET, optimize=True)


def fields(cohort: Cohort) -> list[tuple[str, Image.Image]]:
    """The middle of one slide of each scanner, with the scanner's name."""
    shown: dict[str, Image.Image] = {}
    for entry in cohort.slides:
        start = (entry.width_l0 - VIEW_PX) // 2
        pixels = cohort.open(entry.slide_id).read()[start : start + VIEW_PX, start : start + VIEW_PX]
        shown.setdefault(entry.domain, Image.fromarray(pixels).resize((FIELD_PX, FIELD_PX), Image.Resampling.LANCZOS))
    return sorted(shown.items())


def crops(cohort: Cohort, truth: PhantomTruth, kind: Kind) -> list[Image.Image]:
    """Cells of one kind from all slides in turn, none cut by a slide's edge."""
    half = CROP_PX // 2
    found: list[tuple[int, int, Image.Image]] = []
    for number, entry in enumerate(cohort.slides):
        pixels = cohort.open(entry.slide_id).read()
        rows = truth[(truth.slide_id == entry.slide_id) & (truth.kind == kind.value)]
        for turn, (x, y) in enumerate(np.round(rows.center_l0).astype(int)):
            if half <= x < entry.width_l0 - half and half <= y < entry.height_l0 - half:
                patch = Image.fromarray(pixels[y - half : y + half, x - half : x + half])
                found.append((turn, number, patch.resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC)))
    return [patch for _, _, patch in sorted(found, key=lambda item: item[:2])[:COLUMNS]]


def compose(top: list[tuple[str, Image.Image]], rows: dict[Kind, list[Image.Image]]) -> Image.Image:
    """Fields above, labelled rows of cells below."""
    font = ImageFont.load_default(size=13)
    width = max(len(top) * (FIELD_PX + GAP_PX), LABEL_PX + COLUMNS * (SHOWN_PX + GAP_PX)) - GAP_PX
    cells_top = FIELD_PX + 3 * GAP_PX
    picture = Image.new("RGB", (width, cells_top + len(rows) * (SHOWN_PX + GAP_PX) - GAP_PX), "white")
    pen = ImageDraw.Draw(picture)
    for column, (name, field) in enumerate(top):
        left = column * (FIELD_PX + GAP_PX)
        picture.paste(field, (left, 0))
        pen.rectangle((left, FIELD_PX - 22, left + 8 * len(name) + 8, FIELD_PX), fill="white")
        pen.text((left + 6, FIELD_PX - 19), name, fill="black", font=font)
    for number, (kind, patches) in enumerate(rows.items()):
        y = cells_top + number * (SHOWN_PX + GAP_PX)
        what = "figure" if kind in FIGURE_SHARES else "imposter" if kind in IMPOSTER_SHARES else "background"
        pen.text((0, y + 10), kind.value, fill="black", font=font)
        pen.text((0, y + 28), what, fill=(120, 120, 120), font=font)
        for column, patch in enumerate(patches):
            picture.paste(patch, (LABEL_PX + column * (SHOWN_PX + GAP_PX), y))
    return picture


if __name__ == "__main__":
    main()
