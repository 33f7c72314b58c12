// Where figures are dense: the map that detect draws (count/heatmap.py), of the figures of the page. Numbers as there.

import { el } from "./dom.js";
import { counts } from "./overlay.js";

export const BANDWIDTH_UM = 300;
export const SCALE_PER_MM2 = [0.5, 50]; // ends of the colours, which are logarithmic; below there is none
export const LEAST_TISSUE = 0.1;
const LONGEST_PX = 240;
const [FAINTEST, STRONGEST] = [0.05, 0.6];
const REACH = 5; // sigmas beyond which the Gaussian is nothing
const ANCHORS = [[47, 108, 142], [43, 117, 142], [39, 127, 142], [36, 135, 142], [33, 145, 140], [31, 154, 138], [32, 163, 134], [38, 173, 129], [49, 181, 123], [64, 189, 114], [84, 197, 104], [105, 205, 91], [129, 211, 77], [152, 216, 62], [178, 221, 45], [205, 225, 29], [231, 228, 25], [253, 231, 37]]; // viridis from its green
const NO_MAP = { per_mm2: new Float64Array(0) };

// Figures per mm2 of tissue in px of `step` um over the whole slide; of the slide, where nobody knows its tissue (null).
export function densityOf(cells, upto, frame, byCall, tissue) {
  const [mx, my] = frame.mpp_xy, [wide, tall] = [frame.size_l0[0] * mx, frame.size_l0[1] * my];
  const step = Math.max(wide, tall) / LONGEST_PX;
  const w = Math.max(1, Math.ceil(wide / step)), h = Math.max(1, Math.ceil(tall / step));
  const held = new Float64Array(w * h);
  let any = false;
  const put = (x, y) => {
    const column = Math.floor(((x + 0.5) * mx) / step), row = Math.floor(((y + 0.5) * my) / step);
    if (column < 0 || row < 0 || column >= w || row >= h) return;
    held[row * w + column]++;
    any = true;
  };
  for (let i = 0; i < cells.n; i++) if (counts(cells, i, upto, byCall)) put(cells.x[i], cells.y[i]);
  for (const d of cells.alone) if (d.verdict === "figure") put(d.x, d.y);
  if (!any) return { w, h, step, ...NO_MAP };
  const kernel = kernelOf(BANDWIDTH_UM / step), ground = groundOf(cells, tissue, { w, h, step, wide, tall, kernel });
  const points = spread(held, w, h, kernel), per_mm2 = points.map((value, i) => value / (step * step * 1e-6) / Math.max(ground.near[i], LEAST_TISSUE));
  return { w, h, step, per_mm2, share: ground.share };
}

// Tissue of each px and, spread as the figures are, round it; kept with the cells, for it does not change with the threshold.
function groundOf(cells, tissue, { w, h, step, wide, tall, kernel }) {
  if (!cells.ground || cells.ground.of !== tissue) {
    const share = tissue ? resampled(tissue, w, h, step) : resampled({ cell_um: Math.max(wide, tall), rows: 1, columns: 1, share: [1] }, w, h, step);
    cells.ground = { of: tissue, share, near: spread(share, w, h, kernel) };
  }
  return cells.ground;
}

// Tissue in the cells of one lattice as that in the px of another, both from the slide's upper left corner.
function resampled({ cell_um, rows, columns, share }, w, h, step) {
  const across = overlaps(w, step, columns, cell_um), down = overlaps(h, step, rows, cell_um);
  const found = new Float64Array(w * h);
  for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
    let sum = 0;
    for (const [row, tall] of down[y]) for (const [column, wide] of across[x]) sum += tall * wide * share[row * columns + column];
    found[y * w + x] = sum;
  }
  return found;
}

// Of each of n px the cells that it meets, with the share of the px in each.
function overlaps(n, step, cells, cell) {
  return Array.from({ length: n }, (_, i) => {
    const found = [];
    for (let k = Math.floor((i * step) / cell); k < cells && k * cell < (i + 1) * step; k++) found.push([k, Math.max(0, Math.min((k + 1) * cell, (i + 1) * step) - Math.max(k * cell, i * step)) / step]);
    return found;
  });
}

// Integral of the normal density below z: Abramowitz and Stegun 7.1.26, to 1e-7.
function normal(z) {
  const x = Math.abs(z) / Math.SQRT2, t = 1 / (1 + 0.3275911 * x);
  const tail = 0.5 * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)))) * Math.exp(-x * x);
  return z < 0 ? tail : 1 - tail;
}

// Share of a px that comes to one so many px away: the Gaussian's integral over that one.
function kernelOf(sigma_px) {
  const reach = Math.ceil(REACH * sigma_px);
  return Float64Array.from({ length: reach + 1 }, (_, away) => normal((away + 0.5) / sigma_px) - normal((away - 0.5) / sigma_px));
}

// Along rows, then along columns; what leaves the edge is lost.
function spread(from, w, h, kernel) {
  const along = (source, length, lines, stride, next) => {
    const to = new Float64Array(source.length), reach = kernel.length - 1;
    for (let line = 0; line < lines; line++) for (let i = 0; i < length; i++) {
      const value = source[line * next + i * stride];
      if (value) for (let k = Math.max(0, i - reach), end = Math.min(length - 1, i + reach); k <= end; k++) to[line * next + k * stride] += value * kernel[k > i ? k - i : i - k];
    }
    return to;
  };
  return along(along(from, w, h, 1, w), h, w, w, 1);
}

// A small picture over the whole slide, px of `step` um.
export function heatPicture(cells, upto, frame, byCall, tissue) {
  const { w, h, step, per_mm2, share } = densityOf(cells, upto, frame, byCall, tissue), [low, high] = SCALE_PER_MM2;
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  const context = canvas.getContext("2d"), image = context.createImageData(w, h);
  for (let i = 0; i < per_mm2.length; i++) {
    if (per_mm2[i] < low || !(share[i] > 0)) continue;
    const t = Math.min(1, Math.log(per_mm2[i] / low) / Math.log(high / low));
    image.data.set([...colour(t), Math.round(255 * (FAINTEST + (STRONGEST - FAINTEST) * t ** 1.5))], 4 * i);
  }
  context.putImageData(image, 0, 0);
  return { canvas, step };
}

function colour(t) {
  const place = Math.min(0.9999, Math.max(0, t)) * (ANCHORS.length - 1), k = Math.floor(place), part = place - k;
  return ANCHORS[k].map((value, i) => Math.round(value + part * (ANCHORS[k + 1][i] - value)));
}

// What the colours of the heat map mean.
export function heatScale() {
  const [low, high] = SCALE_PER_MM2, bar = el("div", { class: "heat-colours" });
  bar.style.background = `linear-gradient(to right, ${ANCHORS.map((rgb) => `rgb(${rgb.join(", ")})`).join(", ")})`;
  return el("div", { class: "heat-scale", hidden: true }, el("div", { class: "heat-ends" }, el("span", {}, String(low)), el("span", {}, String(Math.round(Math.sqrt(low * high)))), el("span", {}, `≥ ${high}`)), bar, el("span", {}, "figures per mm²"));
}
