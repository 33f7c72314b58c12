"""Draw docs/images/augment.jpg: each range of the aggressive distortion at its ends, and full draws beside them.

Cells are of the phantom. Run: .venv/bin/python docs/make_augment_picture.py
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mitosieve.patch.augment.colour import recolour_distorted
from mitosieve.patch.augment.distortion import Distortion, DistortionConfig, draw_distortions, reach_px
from mitosieve.patch.augment.warp import warp_patches
from mitosieve.patch.frames import Frame, FrameConfig, FrameStore
from mitosieve.phantom import Kind, PhantomConfig, make_phantom, read_truth
from mitosieve.phantom.cell import FIGURE_SHARES, IMPOSTER_SHARES

TARGET = Path(__file__).parent / "images" / "augment.jpg"
SEED, PATCH_PX, DRAWS = 20, 68, 8
LABEL_PX, GAP_PX, TOP_PX = 150, 3, 22
CONFIG = DistortionConfig()
Place = tuple[Frame, NDArray[np.float64]]


def main() -> None:
    """Make a small phantom, distort some of its cells, lay them out."""
    with tempfile.TemporaryDirectory() as name:
        figures, imposters = cells(Path(name))
        ends = rows_of_ends()
        left = [
            (label, values, [cut(place, one) for place in (figures[0], imposters[0]) for one in three])
            for label, values, three in ends
        ]
        everyone = [cell for pair in zip(figures, imposters, strict=False) for cell in pair]
        right = [full_draws(cell, number) for number, cell in enumerate(everyone[: len(left)])]
        picture = compose(left, right)
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    picture.save(TARGET, quality=82)


def cells(folder: Path) -> tuple[list[Place], list[Place]]:
    """Figures and imposters of all kinds in turn, none at a slide's edge."""
    config = PhantomConfig(cases=9, slides_per_case=1, figures_per_mm2=260.0, imposters_per_mm2=260.0, difficulty=0.15)
    cohort = make_phantom(folder / "phantom", config, np.random.default_rng(SEED))
    store = FrameStore(folder / "frames", FrameConfig(stain="none"), margin_px=reach_px(CONFIG, PATCH_PX))
    truth, found = read_truth(cohort.folder), dict[Kind, list[Place]]()
    for entry in cohort.slides:
        store.add(entry.slide_id, partial(cohort.open, entry.slide_id), None)
        for kind in (*FIGURE_SHARES, *IMPOSTER_SHARES):
            places = truth[(truth.slide_id == entry.slide_id) & (truth.kind == kind.value)].center_l0
            inner = (places > PATCH_PX) & (places < np.array([entry.width_l0, entry.height_l0]) - PATCH_PX)
            frame = store.frame(entry.slide_id)
            found.setdefault(kind, []).extend((frame, place) for place in places[inner.all(axis=1)][:2])
    return dealt(found, tuple(FIGURE_SHARES)), dealt(found, tuple(IMPOSTER_SHARES))


def dealt(found: dict[Kind, list[Place]], kinds: tuple[Kind, ...]) -> list[Place]:
    """One of each kind, then the next of each; from slide to slide as the kinds go."""
    turns = max(len(found[kind]) for kind in kinds)
    return [
        found[kind][(5 * turn + 2 * number) % len(found[kind])]
        for turn in range(turns)
        for number, kind in enumerate(kinds)
        if turn < len(found[kind])
    ]


def cut(place: Place, distortion: Distortion) -> NDArray[np.uint8]:
    """One distorted patch."""
    frame, center = place
    return recolour_distorted(warp_patches(frame, center[None], distortion, patch_px=PATCH_PX), distortion)[0]


def with_only(**values: Any) -> Distortion:  # noqa: ANN401 - numbers and arrays
    """Neutral but for these."""
    plain = Distortion.plain(1)
    return replace(
        plain, **{name: np.asarray(value, dtype=getattr(plain, name).dtype)[None] for name, value in values.items()}
    )


def rows_of_ends() -> list[tuple[str, str, tuple[Distortion, Distortion, Distortion]]]:
    """Name of each parameter, its ends, and the distortion at the low end, in the middle and at the high end."""
    config, plain = CONFIG, Distortion.plain(1)
    bend = np.random.default_rng(3).choice([-1, 1], (2, config.elastic_grid, config.elastic_grid))
    bend = bend * np.sqrt(3) * config.elastic_px
    lamp = np.array([1, 0, -1])
    gain, offset, hed, moved = config.channel_gain, config.channel_offset, config.hed, config.hed_shift

    def both(name: str, low: Any, high: Any, text: str) -> tuple[str, str, tuple[Distortion, Distortion, Distortion]]:  # noqa: ANN401
        return name.replace("_", " "), text, (with_only(**{name: low}), plain, with_only(**{name: high}))

    def ends(name: str) -> tuple[str, str, tuple[Distortion, Distortion, Distortion]]:
        low, high = getattr(config, name)
        return both(name, low, high, f"{low:g} | 1 | {high:g}" if low > 0 else f"{low:g} | 0 | {high:g}")

    far, stain = config.shift_px, np.array([1 + hed, 1, 1])
    return [
        both("shift_px", (-far, -far), (far, far), f"{-far:g} | 0 | {far:g} px"),
        both("angle_deg", 30, 135, "30 | 0 | 135 degrees"),
        both("mirrored", True, True, "yes | no | yes"),
        ends("scale"),
        both("elastic_px", -bend, bend, f"each point {np.sqrt(3) * config.elastic_px:.1f} px"),
        both("channel_gain", 1 - gain * lamp, 1 + gain * lamp, f"red, blue 1 +- {gain:g}"),
        both("channel_offset", -offset * lamp, offset * lamp, f"red, blue +- {offset:g}"),
        both("hue", -config.hue, config.hue, f"{-config.hue:g} | 0 | {config.hue:g} turns"),
        ends("saturation"),
        ends("brightness"),
        ends("contrast"),
        ends("gamma"),
        both("hed_gain", 2 - stain, stain, f"haematoxylin 1 +- {hed:g}"),
        both("hed_shift", (0, -moved, 0), (0, moved, 0), f"eosin +- {moved:g} OD"),
        ends("sharpness"),
        both("noise", config.noise / 2, config.noise, f"{config.noise / 2:g} | 0 | {config.noise:g}"),
        both("jpeg", *config.jpeg, f"{config.jpeg[0]} | none | {config.jpeg[1]}"),
    ]


def full_draws(place: Place, number: int) -> list[NDArray[np.uint8]]:
    """The cell as it is, then as drawn."""
    drawn = draw_distortions(DRAWS, CONFIG, np.random.default_rng([SEED, number]))
    return [cut(place, Distortion.plain(1)), *(cut(place, drawn[[row]]) for row in range(DRAWS))]


def compose(left: list[tuple[str, str, list[NDArray[np.uint8]]]], right: list[list[NDArray[np.uint8]]]) -> Image.Image:
    """Single parameters with their labels on the left, full draws on the right."""
    step = PATCH_PX + GAP_PX
    middle = LABEL_PX + 6 * step + 4 * GAP_PX
    picture = Image.new("RGB", (middle + step * (DRAWS + 1) + 3 * GAP_PX, TOP_PX + len(left) * step), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)
    for x, text in (
        (LABEL_PX, "figure: low, neutral, high"),
        (LABEL_PX + 3 * step + GAP_PX, "imposter"),
        (middle, "as it is"),
        (middle + step + 3 * GAP_PX, "everything drawn at once; figures and imposters in turn"),
    ):
        pen.text((x, 3), text, fill="black", font=font)
    for number, (name, values, patches) in enumerate(left):
        y = TOP_PX + number * step
        pen.text((0, y + 14), name, fill="black", font=font)
        pen.text((0, y + 34), values, fill=(110, 110, 110), font=font)
        for column, patch in enumerate(patches):
            picture.paste(Image.fromarray(patch), (LABEL_PX + column * step + (column // 3) * GAP_PX, y))
    for number, patches in enumerate(right):
        for column, patch in enumerate(patches):
            x = middle + column * step + (3 * GAP_PX if column else 0)
            picture.paste(Image.fromarray(patch), (x, TOP_PX + number * step))
    return picture


if __name__ == "__main__":
    main()
