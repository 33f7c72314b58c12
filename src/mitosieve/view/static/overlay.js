// What is drawn over a slide: where cells are dense, rings round single cells, the hotspot, a heat map.
// Places are level-0 px, pixel centres at integers; a view is an affine map to px of the canvas.

export const INK = {
  figure: "#12c98a", // decided: figure
  imposter: "#ff6a2b", // decided: no figure
  unsure: "#a98bff",
  called: "#ffe04a", // by the detector or the marks, not yet decided
  candidate: "#f2f5f8",
  hotspot: "#00c2ff",
  field: "#ffffff",
};
const BY_VERDICT = [null, INK.figure, INK.imposter, INK.unsure];

export const MOST_RINGS = 1500;
const MOST_LABELS = 300;
const RING_UM = 11;
const BIN_PX = 3;

// Bins of the canvas, kept from frame to frame.
class Bins {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.size = 0;
  }

  fit(width, height) {
    const w = Math.max(1, Math.ceil(width / BIN_PX)), h = Math.max(1, Math.ceil(height / BIN_PX));
    if (this.canvas.width !== w || this.canvas.height !== h || !this.image) {
      this.canvas.width = w;
      this.canvas.height = h;
      this.context = this.canvas.getContext("2d");
      this.image = this.context.createImageData(w, h);
      this.pixels = new Uint32Array(this.image.data.buffer);
      this.count = new Uint16Array(w * h);
    }
    this.count.fill(0);
    return this;
  }

  // Counts the first `upto` points; with a map [a, b, c, d, e, f] to canvas px: x' = a x + c y + e, y' = b x + d y + f.
  add(x, y, upto, map) {
    const { width, height } = this.canvas, count = this.count;
    const a = map[0] / BIN_PX, b = map[1] / BIN_PX, c = map[2] / BIN_PX, d = map[3] / BIN_PX, e = map[4] / BIN_PX, f = map[5] / BIN_PX;
    for (let i = 0; i < upto; i++) {
      const px = a * x[i] + c * y[i] + e, py = b * x[i] + d * y[i] + f;
      if (px >= 0 && py >= 0 && px < width && py < height) {
        const at = (py | 0) * width + (px | 0);
        if (count[at] < 65535) count[at]++;
      }
    }
  }

  addSome(x, y, some, upto, map) {
    const { width, height } = this.canvas, count = this.count;
    for (const i of some) {
      if (i >= upto) continue;
      const px = Math.floor((map[0] * x[i] + map[2] * y[i] + map[4]) / BIN_PX), py = Math.floor((map[1] * x[i] + map[3] * y[i] + map[5]) / BIN_PX);
      if (px >= 0 && py >= 0 && px < width && py < height) count[py * width + px]++;
    }
  }

  paint(context) {
    const pixels = this.pixels, count = this.count;
    for (let i = 0; i < count.length; i++) {
      const n = count[i];
      // yellow to white: opaque enough for one cell to be seen, brighter where there are more (ABGR, little-endian)
      pixels[i] = n === 0 ? 0 : ((Math.min(255, 150 + 35 * n) << 24) | (Math.min(255, 20 + 22 * n) << 16) | (Math.min(255, 190 + 6 * n) << 8) | 255) >>> 0;
    }
    this.context.putImageData(this.image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.canvas, 0, 0, this.canvas.width * BIN_PX, this.canvas.height * BIN_PX);
  }
}

// Whether a cell counts as a figure: as this reader decided, else as it was called, by its score or by its mark.
export function counts(cells, i, upto, byCall) {
  const verdict = cells.shown[i];
  if (verdict) return verdict === 1;
  return isCalled(cells, i, upto, byCall);
}

// Whether it is called a figure, whatever anybody decided: as the table has it or a mark says, or by the threshold of the page.
export function isCalled(cells, i, upto, byCall) {
  return byCall ? cells.call[i] === 1 : i < upto;
}

export class Overlay {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.bins = new Bins();
    this.seen = 0;
  }

  clear() {
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  // Draws a frame. `scene`: cells, upto (how many are at or above the threshold), map, px a um, frame, options.
  draw(scene) {
    const { canvas, context } = this;
    const ratio = scene.ratio;
    const width = canvas.width / ratio, height = canvas.height / ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    if (scene.heat) this._heat(scene, ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (scene.cells) this._cells(scene, width, height);
    for (const outline of scene.outlines) this._outline(outline, scene.map);
    if (scene.aim) this._aim(width / 2, height / 2);
  }

  _heat({ heat, map, frame }, ratio) {
    const [a, b, c, d, e, f] = map, [mx, my] = frame.mpp_xy, sx = heat.step / mx, sy = heat.step / my;
    // px of the picture to level-0 px to the canvas; its corner is the slide's, half a px before the first centre
    this.context.setTransform(ratio * a * sx, ratio * b * sx, ratio * c * sy, ratio * d * sy, ratio * (e - (a + c) / 2), ratio * (f - (b + d) / 2));
    this.context.imageSmoothingEnabled = true;
    this.context.drawImage(heat.canvas, 0, 0);
  }

  _cells(scene, width, height) {
    const { cells, map, pxPerUm } = scene;
    const [x0, y0, x1, y1] = boundsL0(map, width, height);
    const grid = cells.grid;
    const most = grid.most(x0, y0, x1, y1);
    const few = most <= 40 * MOST_RINGS ? this._shown(grid.inside(x0, y0, x1, y1), scene) : null;
    const added = cells.added.filter((d) => d.x >= x0 && d.x <= x1 && d.y >= y0 && d.y <= y1);
    this.mode = few && few.length <= MOST_RINGS ? "rings" : "density";
    if (this.mode === "rings") this._rings(few, cells, scene, Math.max(7, RING_UM * pxPerUm));
    else {
      this.bins.fit(width, height);
      if (few) this.bins.addSome(cells.x, cells.y, few, cells.n, map);
      else this.bins.add(cells.x, cells.y, scene.below ? cells.n : scene.upto, map);
      this.bins.paint(this.context);
    }
    this.seen = few ? few.length : most;
    for (const d of added) this._square(d, map, Math.max(7, RING_UM * pxPerUm), scene.selected === d.key);
  }

  // A cell is shown if it is called a figure, was decided, is chosen, or everything below the threshold is asked for.
  _shown(found, { cells, upto, byCall, below, selected }) {
    return found.filter((i) => below || isCalled(cells, i, upto, byCall) || cells.shown[i] || i === selected);
  }

  _rings(some, cells, scene, radius) {
    const { map, upto } = scene, context = this.context;
    const labels = some.length <= MOST_LABELS && radius >= 13;
    context.font = "600 11px system-ui, sans-serif";
    context.textBaseline = "middle";
    for (const i of some) {
      const x = map[0] * cells.x[i] + map[2] * cells.y[i] + map[4], y = map[1] * cells.x[i] + map[3] * cells.y[i] + map[5];
      const verdict = cells.shown[i], below = !verdict && !isCalled(cells, i, upto, scene.byCall);
      const ink = BY_VERDICT[verdict] ?? (below ? INK.candidate : INK.called);
      this._ring(x, y, radius, ink, below ? [4, 4] : verdict === 3 ? [2, 3] : [], verdict === 2, scene.selected === i);
      if (labels && !Number.isNaN(cells.score[i])) this._label(scoreLabel(cells.score[i]), x + radius + 4, y);
    }
  }

  _ring(x, y, radius, ink, dash, struck, selected) {
    const context = this.context;
    for (const [style, wide] of [["rgba(10, 14, 20, 0.75)", 4.5], [ink, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.setLineDash(wide > 2 ? [] : dash);
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      if (struck) {
        const part = radius * Math.SQRT1_2;
        context.moveTo(x - part, y + part);
        context.lineTo(x + part, y - part);
      }
      context.stroke();
    }
    context.setLineDash([]);
    if (selected) this._corners(x, y, radius + 6);
  }

  _square({ x, y, verdict }, map, radius, selected) {
    const context = this.context;
    const px = map[0] * x + map[2] * y + map[4], py = map[1] * x + map[3] * y + map[5];
    for (const [style, wide] of [["rgba(10, 14, 20, 0.75)", 4.5], [BY_VERDICT[["", "figure", "imposter", "unsure"].indexOf(verdict)] ?? INK.figure, 2]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.strokeRect(px - radius, py - radius, 2 * radius, 2 * radius);
    }
    if (selected) this._corners(px, py, radius + 6);
  }

  // Corners round what is chosen.
  _corners(x, y, reach) {
    const context = this.context, arm = reach / 2.5;
    for (const [style, wide] of [["rgba(10, 14, 20, 0.85)", 5], ["#ffffff", 2.5]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.beginPath();
      for (const [sx, sy] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
        context.moveTo(x + sx * reach, y + sy * (reach - arm));
        context.lineTo(x + sx * reach, y + sy * reach);
        context.lineTo(x + sx * (reach - arm), y + sy * reach);
      }
      context.stroke();
    }
  }

  _label(text, x, y) {
    const context = this.context;
    context.lineWidth = 3;
    context.strokeStyle = "rgba(10, 14, 20, 0.8)";
    context.strokeText(text, x, y);
    context.fillStyle = "#ffffff";
    context.fillText(text, x, y);
  }

  _outline({ points, ink, wide = 2, fill = null, dash = [] }, map) {
    if (!points || !points.length) return;
    const context = this.context;
    context.beginPath();
    for (const [x, y] of points) context.lineTo(map[0] * x + map[2] * y + map[4], map[1] * x + map[3] * y + map[5]);
    context.closePath();
    if (fill) {
      context.fillStyle = fill;
      context.fill();
    }
    for (const [style, width] of [["rgba(10, 14, 20, 0.7)", wide + 2], [ink, wide]]) {
      context.strokeStyle = style;
      context.lineWidth = width;
      context.setLineDash(width > wide ? [] : dash);
      context.stroke();
    }
    context.setLineDash([]);
  }

  _aim(x, y) {
    const context = this.context;
    for (const [style, wide] of [["rgba(10, 14, 20, 0.8)", 4], ["#ffffff", 1.5]]) {
      context.strokeStyle = style;
      context.lineWidth = wide;
      context.beginPath();
      for (const [sx, sy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 5 * sx, y + 5 * sy);
        context.lineTo(x + 16 * sx, y + 16 * sy);
      }
      context.stroke();
    }
  }
}

const scoreLabel = (score) => (score > 0.995 || score < 0.005 ? score.toFixed(4) : score.toFixed(2));

// The upright rectangle in level-0 px that holds what the canvas shows.
export function boundsL0(map, width, height) {
  const inverse = inverted(map);
  const xs = [], ys = [];
  for (const [px, py] of [[0, 0], [width, 0], [0, height], [width, height]]) {
    const [x, y] = applied(inverse, px, py);
    xs.push(x);
    ys.push(y);
  }
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

export const applied = ([a, b, c, d, e, f], x, y) => [a * x + c * y + e, b * x + d * y + f];

export function inverted([a, b, c, d, e, f]) {
  const det = a * d - b * c;
  return [d / det, -b / det, -c / det, a / det, (c * f - d * e) / det, (b * e - a * f) / det];
}
