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

from mitosieve.errors import SlideError
from mitosieve.geometry import Region, lattice
from mitosieve.run import layout
from mitosieve.run.folder import write_atomic, write_json
from mitosieve.slide.overview import Overview, look_over, sample_blocks
from mitosieve.slide.slide import MAX_MPP, MIN_MPP, Slide
from mitosieve.slide.stain import (
    MacenkoConfig,
    StainProfile,
    apply_transform,
    average_profiles,
    estimate_profile,
    od_transform,
)
from mitosieve.slide.tissue import DEFAULT_BACKGROUND, TissueRule, background_color

SMALL_PX = 2**24
"""A slide of at most so many level-0 px is judged (stain, background) by all its pixels; a larger one by a sample."""

SAMPLE_MPP = 0.5

SQUARE_WITHIN = 0.01
"""Difference of a pixel's sides up to which marks and patches agree: a cohort has one mpp a slide."""


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
        glass: (3,) uint8, the slide's glass as it is.
    """

    transform: NDArray[np.float64] | None
    background: NDArray[np.uint8]
    glass: NDArray[np.uint8]

    @property
    def raw(self) -> "Look":
        """The slide's own colours."""
        return Look(transform=None, background=self.glass, glass=self.glass)

    def stained(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Pixels (..., 3) that were rendered in the slide's own colours, as this look has them."""
        return pixels if self.transform is None else apply_transform(pixels, self.transform)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A rendered part of a slide with a margin all round.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        origin_px: (x, y) of pixels[0, 0] on the slide's lattice at `mpp`; negative where the margin left the slide.
    """

    pixels: NDArray[np.uint8]
    origin_px: tuple[int, int]


def sample_pixels(slide: Slide, overview: Overview | None = None) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) that stand for a slide's stain: all of a small one, a fixed sample of a large one's tissue.

    Args:
        slide: opened.
        overview: of the slide, where it is at hand.
    """
    if slide.bounds.area_px2 <= SMALL_PX:
        return slide.read_l0(slide.bounds)
    bare = np.array(DEFAULT_BACKGROUND, dtype=np.uint8)
    look = Look(transform=None, background=bare, glass=bare)
    tissue = (look_over(slide) if overview is None else overview).tissue
    blocks = sample_blocks(slide, tissue, SAMPLE_MPP)
    pixels = [render_block(slide, block, mpp=SAMPLE_MPP, look=look).pixels.reshape(1, -1, 3) for block in blocks]
    return np.concatenate([np.zeros((1, 0, 3), dtype=np.uint8), *pixels], axis=1)


def overview_of(slide: Slide, rule: TissueRule) -> Overview | None:
    """A large slide seen whole; None of a small one, which is sampled as it is."""
    return None if slide.bounds.area_px2 <= SMALL_PX else look_over(slide, rule)


def fit_target(slides: Iterable[Callable[[], Slide]], tissue: TissueRule = "otsu") -> StainProfile | None:
    """The stain that slides are brought to: the robust mean of the slides' own profiles; None if no slide has one.

    Args:
        slides: openers of training slides only: fitted on others, the target would leak them into training.
        tissue: how tissue is told from glass.
    """
    found: list[StainProfile] = []
    for open_it in slides:
        with open_it() as slide:
            profile = estimate_profile(sample_pixels(slide, overview_of(slide, tissue)), MacenkoConfig())
        if profile is not None:
            found.append(profile)
    return average_profiles(found) if found else None


def look_at(slide: Slide, target: StainProfile | None, overview: Overview | None = None) -> Look:
    """Fix a slide's transform and background from its own pixels, without any label.

    A slide with too little tissue to tell its stain is left as it is.

    Args:
        slide: opened.
        target: what its stain is brought to; None leaves colours as they are.
        overview: of the slide, where it is at hand.
    """
    small = slide.bounds.area_px2 <= SMALL_PX
    overview = look_over(slide) if overview is None and not small else overview
    pixels = sample_pixels(slide, overview) if small or target is not None else None
    shown = pixels if small or overview is None else overview.pixels
    assert shown is not None
    glass = background_color(shown)
    source = None if target is None or pixels is None else estimate_profile(pixels, MacenkoConfig())
    if target is None or source is None:
        return Look(transform=None, background=glass, glass=glass)
    transform = od_transform(source, target)
    return Look(transform=transform, background=apply_transform(glass[None, None], transform)[0, 0], glass=glass)


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
    return render_block(slide, lattice(region, mpp_l0=slide.mpp_xy, mpp=mpp).grow(margin_px), mpp=mpp, look=look)


def render_block(slide: Slide, wanted: Region, *, mpp: float, look: Look) -> Frame:
    """Render a block of a slide's lattice; what lies beyond the slide has the background colour.

    Args:
        slide: the opened slide.
        wanted: pixels of the slide's lattice at `mpp` (`geometry.lattice`); may leave the slide.
        mpp: um per px of the answer.
        look: from `look_at`.
    """
    inside = wanted.clip(lattice(slide.bounds, mpp_l0=slide.mpp_xy, mpp=mpp))
    canvas = np.empty((wanted.h, wanted.w, 3), dtype=np.uint8)
    if inside != wanted:  # filling takes as long as sampling
        canvas[:] = look.background
    if inside.area_px2:
        y, x = inside.y - wanted.y, inside.x - wanted.x
        canvas[y : y + inside.h, x : x + inside.w] = look.stained(_read(slide, inside, mpp))
    return Frame(pixels=canvas, origin_px=(wanted.x, wanted.y))


def _read(slide: Slide, block: Region, mpp: float) -> NDArray[np.uint8]:
    """Pixels of a block inside the slide's lattice."""
    if not slide.is_stored_at(mpp):
        return slide.read_block(block, mpp)
    wide, tall = (mpp / side for side in slide.mpp_xy)
    x, y = int(block.x * wide), int(block.y * tall)
    right, bottom = int(np.ceil((block.x + block.w) * wide)) + 1, int(np.ceil((block.y + block.h) * tall)) + 1
    source = Region(x=x, y=y, w=right - x, h=bottom - y).clip(slide.bounds)
    have = lattice(source, mpp_l0=slide.mpp_xy, mpp=mpp)
    y, x = block.y - have.y, block.x - have.x
    return slide.read(source, mpp)[y : y + block.h, x : x + block.w]


class FrameStore:
    """Rendered slides on disk, one .npy each, opened as memory maps.

    Args:
        folder: where the files are; each file exists only when whole, so a killed run goes on where it was.
        config: what was rendered.
        margin_px: margin round each frame.
        tissue: how tissue is told from glass where a slide's stain is measured, as its proposer tells it.
    """

    def __init__(self, folder: Path, config: FrameConfig, *, margin_px: int, tissue: TissueRule = "otsu") -> None:
        self.folder = folder
        self.config = config
        self.margin_px = margin_px
        self.tissue: TissueRule = tissue
        self._open: dict[str, Frame] = {}

    def add(self, slide_id: str, open_it: Callable[[], Slide], target: StainProfile | None) -> None:
        """Render a slide, unless it is there already: then it is not even opened."""
        path = self._file(slide_id)
        if path.exists():
            return
        with open_it() as slide:
            across, down = slide.mpp_xy
            if abs(across / down - 1) > SQUARE_WITHIN:
                raise SlideError(
                    f"has pixels of {across:g} x {down:g} um, and training takes square ones",
                    where=slide.path,
                    remedy="resample it to square pixels and import it again; detect takes it as it is",
                )
            look = look_at(slide, target, overview_of(slide, self.tissue))
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
        return self.folder / layout.file_of(slide_id, ".npy")
