"""Slides rendered once for the networks: resampled to one mpp, stain-normalised, kept as memory maps.

Training and detection get their pixels from the same function here, so a network sees the same cell in both.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mitosieve.geometry import Region, lattice
from mitosieve.runfolder import write_atomic, write_json
from mitosieve.slide.slide import MAX_MPP, MIN_MPP, Slide
from mitosieve.slide.tissue import background_color
from mitosieve.stain import (
    MacenkoConfig,
    StainProfile,
    apply_transform,
    average_profiles,
    estimate_profile,
    od_transform,
)

SAMPLE_BLOCKS, SAMPLE_BLOCK_PX = 4, 1024
"""A slide too large to look at whole is judged (stain, background) by 4 x 4 blocks of 1024 px on a regular grid."""


class FrameConfig(BaseModel):
    """What a network sees of a slide."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mpp: float = Field(default=0.25, ge=MIN_MPP, le=MAX_MPP)
    """um per px of all patches; slides of other resolutions are resampled."""
    stain: Literal["macenko", "none"] = "macenko"
    """Stain normalisation: target from the training cases, source from each slide's own tissue."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is fixed for one slide before any patch is read.

    Attributes:
        transform: (3, 3) matrix in optical-density space, or None for pixels as they are.
        background: (3,) uint8, the slide's glass after `transform`; fills patches that reach beyond the image.
    """

    transform: NDArray[np.float64] | None
    background: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A rendered part of a slide with a margin all round.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        origin_px: (x, y) of pixels[0, 0] on the slide's lattice at `mpp`; negative where the margin left the slide.
    """

    pixels: NDArray[np.uint8]
    origin_px: tuple[int, int]


def sample_pixels(slide: Slide) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) that stand for a slide: all of a small one, a fixed set of blocks of a large one."""
    width, height = slide.size_l0
    if width * height <= (SAMPLE_BLOCKS * SAMPLE_BLOCK_PX) ** 2:
        return slide.read_l0(slide.bounds)
    side = SAMPLE_BLOCK_PX
    blocks = [
        slide.read_l0(Region(x=int(x), y=int(y), w=min(side, width), h=min(side, height)))
        for y in np.linspace(0, max(0, height - side), SAMPLE_BLOCKS)
        for x in np.linspace(0, max(0, width - side), SAMPLE_BLOCKS)
    ]
    return np.concatenate(blocks)


def fit_target(slides: Iterable[Callable[[], Slide]]) -> StainProfile | None:
    """The stain that slides are brought to: the robust mean of the slides' own profiles; None if no slide has one.

    Args:
        slides: openers of training slides only: fitted on others, the target would leak them into training.
    """
    found: list[StainProfile] = []
    for open_it in slides:
        with open_it() as slide:
            profile = estimate_profile(sample_pixels(slide), MacenkoConfig())
        if profile is not None:
            found.append(profile)
    return average_profiles(found) if found else None


def look_at(slide: Slide, target: StainProfile | None) -> Look:
    """Fix a slide's transform and background from its own pixels, without any label.

    A slide with too little tissue to tell its stain is left as it is.
    """
    pixels = sample_pixels(slide)
    background = background_color(pixels)
    source = None if target is None else estimate_profile(pixels, MacenkoConfig())
    if target is None or source is None:
        return Look(transform=None, background=background)
    transform = od_transform(source, target)
    return Look(transform=transform, background=apply_transform(background[None, None], transform)[0, 0])


def render(slide: Slide, region: Region, *, mpp: float, margin_px: int, look: Look) -> Frame:
    """Render a region of a slide for the networks, with `margin_px` px more on each side.

    Beyond the image the margin has the background colour: a mirrored half nucleus would look like an anaphase.

    Args:
        slide: the opened slide.
        region: level-0 px, inside the slide.
        mpp: um per px of the answer.
        margin_px: px at `mpp`.
        look: from `look_at`.
    """
    wanted = lattice(region, mpp_l0=slide.mpp, mpp=mpp).grow(margin_px)
    reach = int(np.ceil((margin_px + 1) * mpp / slide.mpp))
    source = region.grow(reach).clip(slide.bounds)
    have = lattice(source, mpp_l0=slide.mpp, mpp=mpp)
    shared = have.clip(wanted)
    pixels = slide.read(source, mpp)
    if look.transform is not None:
        pixels = apply_transform(pixels, look.transform)
    canvas = np.empty((wanted.h, wanted.w, 3), dtype=np.uint8)
    canvas[:] = look.background
    rows = slice(shared.y - wanted.y, shared.y - wanted.y + shared.h)
    columns = slice(shared.x - wanted.x, shared.x - wanted.x + shared.w)
    canvas[rows, columns] = pixels[shared.y - have.y :, shared.x - have.x :][: shared.h, : shared.w]
    return Frame(pixels=canvas, origin_px=(wanted.x, wanted.y))


class FrameStore:
    """Rendered slides on disk, one .npy each, opened as memory maps.

    Args:
        folder: where the files are; each file exists only when whole, so a killed run goes on where it was.
        config: what was rendered.
        margin_px: margin round each frame.
    """

    def __init__(self, folder: Path, config: FrameConfig, *, margin_px: int) -> None:
        self.folder = folder
        self.config = config
        self.margin_px = margin_px
        self._open: dict[str, Frame] = {}

    def add(self, slide_id: str, open_it: Callable[[], Slide], target: StainProfile | None) -> None:
        """Render a slide, unless it is there already: then it is not even opened."""
        path = self._file(slide_id)
        if path.exists():
            return
        with open_it() as slide:
            look = look_at(slide, target)
            frame = render(slide, slide.bounds, mpp=self.config.mpp, margin_px=self.margin_px, look=look)
        write_atomic(path, lambda file: np.save(file, frame.pixels))

    def frame(self, slide_id: str) -> Frame:
        """The frame of a slide that was added."""
        if slide_id not in self._open:
            pixels: NDArray[np.uint8] = np.load(self._file(slide_id), mmap_mode="r")
            self._open[slide_id] = Frame(pixels=pixels, origin_px=(-self.margin_px, -self.margin_px))
        return self._open[slide_id]

    def size_px(self, slide_id: str) -> tuple[int, int]:
        """Width and height of the slide at the store's mpp, without margin."""
        height, width = self.frame(slide_id).pixels.shape[:2]
        return width - 2 * self.margin_px, height - 2 * self.margin_px

    def save_target(self, target: StainProfile | None) -> None:
        write_json(self.folder / "target.json", None if target is None else target.to_json())

    def load_target(self) -> StainProfile | None:
        """What `save_target` wrote.

        Raises:
            FileNotFoundError: nothing was written yet.
        """
        content = json.loads((self.folder / "target.json").read_text())
        return None if content is None else StainProfile.from_json(content)

    def _file(self, slide_id: str) -> Path:
        safe = "".join(c if c.isalnum() or c in "-_." else f"%{ord(c):x}" for c in slide_id)
        return self.folder / f"{safe}.npy"
