"""Tissue without nuclei: where epithelium, stroma and gaps lie, and their collagen, cytoplasm and cell borders."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mitosieve.phantom.canvas import Canvas, Map, blur, smoothstep, value_noise

_FLOW_STEPS, _STEP_PX = 11, 1.3
"""Steps each way, and their length in half-resolution px, by which noise is smeared into fibres: 7 um each way."""


@dataclass(frozen=True, kw_only=True)
class Habit:
    """How one case's tissue looks, the same on all its slides.

    Attributes:
        epithelium: share of the slide that is epithelium.
        nest_um: typical width of an epithelial nest.
        spacing_um: distance of neighbouring epithelial nuclei.
        nucleus_um: mean long radius of an epithelial nucleus.
        pleomorphism: spread of nuclear size, relative.
        vesicular: 0 dense nuclei, 1 clear nuclei with a sharp rim.
        basophilia: haematoxylin in the cytoplasm.
        cytoplasm: eosin in the cytoplasm.
        gaps: share of the tissue that is empty glass.
        lymphocytes_mm2: lymphocytes per mm2 of stroma.
        loose: 0 no white borders between cells, 1 many.
    """

    epithelium: float
    nest_um: float
    spacing_um: float
    nucleus_um: float
    pleomorphism: float
    vesicular: float
    basophilia: float
    cytoplasm: float
    gaps: float
    lymphocytes_mm2: float
    loose: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> "Habit":
        nucleus = float(generator.uniform(3.9, 5.4))
        return cls(
            epithelium=float(generator.uniform(0.58, 0.82)),
            nest_um=float(generator.uniform(50, 110)),
            spacing_um=nucleus * float(generator.uniform(2.1, 2.65)),
            nucleus_um=nucleus,
            pleomorphism=float(generator.uniform(0.08, 0.2)),
            vesicular=float(generator.uniform(0.1, 0.95)),
            basophilia=float(generator.uniform(0.08, 0.22)),
            cytoplasm=float(generator.uniform(0.42, 0.62)),
            gaps=float(generator.uniform(0.01, 0.05)),
            lymphocytes_mm2=float(generator.uniform(700, 2600)),
            loose=float(generator.uniform(0.0, 1.0)),
        )


@dataclass(frozen=True)
class Layout:
    """Where what lies on one slide.

    Attributes:
        epithelium: (h, w) 0..1, 1 inside nests.
        gap: (h, w) 0..1, 1 on empty glass.
        flow: (h, w) direction of the stroma's fibres, radians; they run along the nests' borders.
    """

    epithelium: Map
    gap: Map
    flow: Map

    @classmethod
    def draw(cls, shape: tuple[int, int], habit: Habit, *, mpp: float, generator: np.random.Generator) -> "Layout":
        nest_px = habit.nest_um / mpp
        septa = np.abs(value_noise(shape, nest_px, generator)) * 1.5
        broad = value_noise(shape, 1.6 * nest_px, generator) + 1.0
        form = np.minimum(septa, broad) + 0.12 * value_noise(shape, nest_px / 4, generator)
        field = blur(form.astype(np.float32), nest_px / 16)
        edge = float(np.quantile(field[::8, ::8], 1.0 - habit.epithelium))
        ragged = field + 0.05 * value_noise(shape, 14.0, generator)
        epithelium = smoothstep(edge - 0.05, edge + 0.05, ragged)
        hollow = value_noise(shape, 17.0 / mpp, generator)
        for cell_um, weight in ((6.0, 0.45), (1.6, 0.12)):
            hollow = hollow + weight * value_noise(shape, cell_um / mpp, generator)
        brink = float(np.quantile(hollow[::8, ::8], 1.0 - habit.gaps))
        gap = smoothstep(brink - 0.06, brink + 0.12, hollow)
        return cls(epithelium, gap, _flow(field, mpp=mpp, generator=generator))


def _flow(field: Map, *, mpp: float, generator: np.random.Generator) -> Map:
    """Directions of fibres: a slide-wide drift that wavers, bent along the borders of nests where these are steep.

    Directions have no sign, so they are averaged as doubled angles.
    """
    smooth = blur(field, 4.0 / mpp)
    slope_x = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=3)
    slope_y = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=3)
    steep = np.hypot(slope_x, slope_y)
    pull = 1.4 * np.minimum(steep / (2.0 * float(steep[::8, ::8].mean()) + 1e-9), 1.0)
    along = 2.0 * (np.arctan2(slope_y, slope_x) + np.pi / 2)
    drift = 2.0 * (float(generator.uniform(0, np.pi)) + 0.45 * value_noise(field.shape, 90.0 / mpp, generator))
    x, y = np.cos(drift) + pull * np.cos(along), np.sin(drift) + pull * np.sin(along)
    waver = 0.22 * value_noise(field.shape, 9.0 / mpp, generator)
    return (0.5 * np.arctan2(y, x) + waver).astype(np.float32)


def paint_ground(
    layout: Layout, centers_l0: NDArray[np.float64], habit: Habit, generator: np.random.Generator
) -> Canvas:
    """Stroma, cytoplasm and gaps as a canvas; `centers_l0` (N, 2) are the epithelial cells whose borders are drawn."""
    stroma_h, stroma_e = _stroma(layout, generator)
    cell_h, cell_e = _cytoplasm(layout.epithelium.shape, centers_l0, habit, generator)
    inside = layout.epithelium
    presence = 1.0 - layout.gap
    debris = 0.02 + 0.02 * value_noise(inside.shape, 30.0, generator)
    haematoxylin = (stroma_h + inside * (cell_h - stroma_h)) * presence
    eosin = (stroma_e + inside * (cell_e - stroma_e)) * presence + debris
    thickness = 1.0 + 0.07 * value_noise(inside.shape, 260.0, generator)
    return Canvas(
        np.maximum(haematoxylin * thickness, 0.0).astype(np.float32),
        np.maximum(eosin * thickness, 0.0).astype(np.float32),
    )


def _smear(noise: Map, flow: Map) -> Map:
    """Noise averaged along the flow (line integral convolution), unit variance."""
    h, w = noise.shape
    step_x, step_y = _STEP_PX * np.cos(flow), _STEP_PX * np.sin(flow)
    grid_x, grid_y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    total = noise.copy()
    for sign in (1.0, -1.0):
        x, y = grid_x, grid_y
        last_x, last_y = sign * step_x, sign * step_y
        for _ in range(_FLOW_STEPS):
            dx = cv2.remap(step_x, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
            dy = cv2.remap(step_y, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
            turned = np.where(last_x * dx + last_y * dy < 0.0, -1.0, 1.0).astype(np.float32)
            last_x, last_y = turned * dx, turned * dy
            x, y = x + last_x, y + last_y
            total += cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray((total - total.mean()) / total.std(), dtype=np.float32)


def _stroma(layout: Layout, generator: np.random.Generator) -> tuple[Map, Map]:
    """Haematoxylin and eosin of collagen: wavy bundles of fibres with clefts between them."""
    h, w = layout.flow.shape
    half = ((w + 1) // 2, (h + 1) // 2)
    flow = np.asarray(cv2.resize(layout.flow, half, interpolation=cv2.INTER_NEAREST), dtype=np.float32)
    white = generator.standard_normal((half[1], half[0]), dtype=np.float32)
    white = blur(white, 0.7)
    fibres = cv2.resize(_smear(white, flow), (w, h), interpolation=cv2.INTER_CUBIC)
    broad = blur(white, 2.2)
    bundles = cv2.resize(_smear(broad, flow), (w, h), interpolation=cv2.INTER_LINEAR)
    dense = 0.5 + 0.5 * np.tanh(value_noise((h, w), 220.0, generator))
    speck = value_noise((h, w), 3.0, generator)
    wisp = value_noise((h, w), 40.0, generator)
    cleft = smoothstep(0.7, 1.6, -bundles - 0.2 * fibres - 1.6 * (dense - 0.4) + 0.35 * wisp)
    eosin = (0.48 + 0.26 * dense + 0.10 * bundles + 0.09 * fibres + 0.03 * speck + 0.06 * wisp) * (1.0 - 0.85 * cleft)
    haematoxylin = (0.11 + 0.03 * fibres + 0.02 * speck) * (1.0 - cleft)
    return haematoxylin.astype(np.float32), eosin.astype(np.float32)


def _cytoplasm(
    shape: tuple[int, int], centers_l0: NDArray[np.float64], habit: Habit, generator: np.random.Generator
) -> tuple[Map, Map]:
    """Haematoxylin and eosin of epithelial cytoplasm: granular, each cell its own tone, with borders."""
    tone, border = _cells(shape, centers_l0, generator)
    fine = blur(generator.standard_normal(shape, dtype=np.float32), 1.0) * 2.6
    foam = value_noise(shape, 5.5, generator)
    blotch = value_noise(shape, 13.0, generator)
    slow = value_noise(shape, 90.0, generator)
    vacuole = smoothstep(0.9, 2.1, foam + 0.5 * blotch + 0.3 * slow)
    texture = 0.09 * fine + 0.10 * foam + 0.12 * blotch + 0.12 * slow
    eosin = habit.cytoplasm * (1.0 + 0.26 * tone + texture - 0.45 * vacuole)
    haematoxylin = habit.basophilia * (1.0 - 0.30 * tone + 0.30 * fine + 0.2 * foam + 0.25 * blotch - 0.6 * vacuole)
    where = smoothstep(0.1, 1.4, value_noise(shape, 100.0, generator) + 1.5 * habit.loose - 1.2)
    split = smoothstep(0.25, 0.85, border + 0.22 * blotch - 0.45 * (1.0 - where)) * np.minimum(2.0 * where, 1.0)
    eosin = (eosin + 0.18 * border * (1.0 - where)) * (1.0 - 0.88 * split)
    haematoxylin = haematoxylin * (1.0 - 0.92 * split)
    return haematoxylin.astype(np.float32), eosin.astype(np.float32)


def _cells(shape: tuple[int, int], centers_l0: NDArray[np.float64], generator: np.random.Generator) -> tuple[Map, Map]:
    """Each cell's own tone (about -1..1) and the strength of borders (0..1), from the Voronoi cells of the nuclei."""
    h, w = shape
    tone, border = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    tone[:] = 128
    mesh = cv2.Subdiv2D((-4, -4, w + 8, h + 8))
    for x, y in centers_l0:
        mesh.insert((float(x), float(y)))
    facets, _ = mesh.getVoronoiFacetList([])
    tones = generator.integers(40, 216, len(facets))
    for facet, value in zip(facets, tones, strict=True):
        corners = np.round(np.asarray(facet) * 16).astype(np.int32)
        cv2.fillPoly(tone, [corners], int(value), cv2.LINE_8, shift=4)
        cv2.polylines(border, [corners], True, 255, 2, cv2.LINE_AA, shift=4)
    bend_x = 5.0 * value_noise(shape, 24.0, generator)
    bend_y = 5.0 * value_noise(shape, 24.0, generator)
    grid_x, grid_y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))

    def bent(image: NDArray[np.uint8]) -> Map:
        moved = cv2.remap(image, grid_x + bend_x, grid_y + bend_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, dtype=np.float32)

    soft_tone = blur(bent(tone), 2.0)
    soft_border = blur(bent(border), 1.2)
    return (soft_tone - 128.0) / 88.0, np.minimum(soft_border / 140.0, 1.0)
