// One slide under glass: deep zoom by OpenSeadragon, and over it our own canvas, scale bar and overview.

import { tileAddress } from "./api.js";
import { shortcut } from "./buttons.js";
import { el, icon, length } from "./dom.js";
import { heatPicture, heatScale } from "./heat.js";
import { INK, Overlay, applied, boundsL0, inverted, isCalled } from "./overlay.js";

const NICE_UM = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000];
const BAR_PX = 110;
const RETRY = { tileRetryMax: 600, tileRetryDelay: 1500 }; // while an overview is made, tiles are asked for again
const PICK_PX = 14;

export class SlideView extends EventTarget {
  // `byTable`: figures are those of the table, wherever the threshold of the page is; without a threshold they always are.
  constructor(store, { label = "Slide", byTable = false } = {}) {
    super();
    this.store = store;
    this.byTable = byTable || !store.hasThreshold;
    this.slide = null;
    this.cells = null;
    this.frame = null;
    this.heatOn = false;
    this.below = false;
    this.adding = false;
    this.selected = null; // a row, or the key of an added cell
    this.outlines = [];
    this.area = []; // that alone was searched of the slide
    this.frames = []; // when frames were drawn, for who measures
    this.host = el("div", { class: "glass" });
    this.canvas = el("canvas", { class: "over", "aria-hidden": "true" });
    this.bar = el("div", { class: "scalebar" });
    this.heatBar = heatScale();
    this.message = el("div", { class: "glass-message", hidden: true });
    this.node = el("div", { class: "slideview", tabindex: "0", role: "application", "aria-label": `${label}: arrows move, + and - zoom`, "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Enter Escape" }, this.host, this.bar, this.heatBar, this._tools(), this.message);
    this.overlay = new Overlay(this.canvas);
    this.osd = null;
    this._heat = null;
    this._queued = false;
    store.addEventListener("threshold", () => this._stale());
    store.addEventListener("decisions", () => this._stale());
    new ResizeObserver(() => this._resized()).observe(this.node);
  }

  _tools() {
    const button = (lines, label, work, ...keys) => el("button", { type: "button", "aria-label": label, title: label, "aria-keyshortcuts": shortcut(...keys), onclick: work }, icon(lines));
    return el(
      "div",
      { class: "tools", role: "toolbar", "aria-label": "Slide" },
      button("M3 8h10M8 3v10", "Zoom in (+)", () => this.zoomBy(1.6), "+", "="),
      button("M3 8h10", "Zoom out (-)", () => this.zoomBy(1 / 1.6), "-"),
      button("M2.5 2.5h11v11h-11zM5.5 5.5h5v5h-5z", "Whole slide (0)", () => this.home(), "0"),
      button("M4 6a5 5 0 1 1-1 4M4 2v4h4", "Turn left ([)", () => this.turn(-15), "["),
      button("M12 6a5 5 0 1 0 1 4M12 2v4H8", "Turn right (])", () => this.turn(15), "]"),
      button("M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10", "Full screen (f)", () => this.fullScreen(), "f"),
    );
  }

  _start() {
    this.osd = OpenSeadragon({
      element: this.host,
      drawer: "canvas",
      showNavigationControl: false,
      showNavigator: true,
      navigatorPosition: "TOP_RIGHT",
      navigatorSizeRatio: 0.16,
      navigatorAutoFade: false,
      navigatorOpacity: 1, // else the slide and its rings shine through
      keyboardNavEnabled: false,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
      gestureSettingsTouch: { clickToZoom: false, dblClickToZoom: true },
      animationTime: matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 0.35,
      springStiffness: 9,
      visibilityRatio: 0.3,
      minZoomImageRatio: 0.7,
      maxZoomPixelRatio: 6,
      imageLoaderLimit: 6,
      maxImageCacheCount: 400,
      ...RETRY,
      preserveImageSizeOnResize: true,
      immediateRender: false,
      blendTime: 0,
    });
    // the map does not ask again of itself, nor draws what comes late: where an overview must be made first it stayed empty
    for (const loader of [this.osd.navigator, this.osd.navigator.imageLoader]) Object.assign(loader, RETRY);
    this.osd.navigator.addHandler("tile-loaded", ({ tiledImage }) => setTimeout(() => [0.99, 1].forEach((part) => tiledImage.setOpacity(part))));
    this.osd.canvas.append(this.canvas); // over the tiles, under the overview
    this.osd.addHandler("update-viewport", () => this._draw());
    this.osd.addHandler("open", () => this._stale());
    this.osd.addHandler("tile-loaded", () => {
      if (!this.firstTile) {
        this.firstTile = performance.now();
        this.dispatchEvent(new Event("first-tile"));
      }
    });
    this.osd.addHandler("canvas-click", (event) => {
      this.node.focus({ preventScroll: true });
      if (event.quick) this._clicked(event.position);
    });
    this.node.addEventListener("pointermove", (event) => this._pointed(event));
    this.node.addEventListener("pointerleave", () => this.dispatchEvent(new CustomEvent("pointer", { detail: null })));
  }

  // Done when frame and cells are there; asked again while they are on their way, it is the same opening.
  open(number) {
    if (this.slide === number && this._opening) return this._opening;
    this.slide = number;
    this.cells = null;
    this.frame = null;
    this._heat = null;
    this.selected = null;
    this.outlines = [];
    this.area = this.store.slides[number].area.map((points) => ({ points, ink: INK.field, dash: [3, 5] }));
    this.redraw(); // no ring of the slide before stays
    const turn = (this._turn = (this._turn ?? 0) + 1);
    const opening = this._open(number, () => turn === this._turn);
    this._opening = opening;
    opening.catch(() => {}).then(() => {
      if (this._opening === opening && !this.cells) this._opening = null; // to be opened again
    });
    return opening;
  }

  // What an earlier slide answers changes nothing of the slide that is on the glass.
  async _open(number, isLatest) {
    this._say("opening…");
    try {
      const frame = await this.store.frame(number);
      if (!isLatest()) return;
      if (!this.osd) this._start();
      this.frame = frame;
      const opened = new Promise((done) => this.osd.addOnceHandler("open", done));
      this.osd.open(this._source(number, frame));
      await opened;
      if (!isLatest()) return;
      this._say("");
    } catch (error) {
      if (!isLatest()) return;
      this._say(`${this.store.slides[number].name}: ${error.message}`);
      if (this.osd) this.osd.close();
      throw error;
    }
    const slow = setTimeout(() => isLatest() && this._say("reading detections…"), 400);
    try {
      const cells = await this.store.cells(number);
      if (!isLatest()) return;
      this.cells = cells;
      this._say("");
    } catch (error) {
      if (!isLatest()) return;
      this._say(error.message);
    } finally {
      clearTimeout(slow);
    }
    this._stale();
    this.dispatchEvent(new Event("opened"));
  }

  _source(number, frame) {
    return {
      width: frame.size[0],
      height: frame.size[1],
      tileSize: frame.tile,
      tileOverlap: 0,
      minLevel: frame.first,
      maxLevel: frame.deepest,
      getTileUrl: (level, column, row) => tileAddress(number, level, column, row),
    };
  }

  _say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  _stale() {
    this._heat = null;
    this.redraw();
  }

  redraw() {
    if (this._queued || !this.osd) return;
    this._queued = true;
    requestAnimationFrame(() => {
      this._queued = false;
      this._draw();
    });
  }

  _resized() {
    const ratio = Math.min(2, devicePixelRatio || 1);
    const { clientWidth, clientHeight } = this.node;
    this.canvas.width = Math.max(1, Math.round(clientWidth * ratio));
    this.canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    this.ratio = ratio;
    this.redraw();
  }

  // Level-0 px to px of the canvas, as an affine map.
  map() {
    const { mpp, mpp_xy } = this.frame, viewport = this.osd.viewport;
    const at = (x, y) => viewport.pixelFromPoint(viewport.imageToViewportCoordinates(((x + 0.5) * mpp_xy[0]) / mpp, ((y + 0.5) * mpp_xy[1]) / mpp), true);
    const far = 10000;
    const [o, x, y] = [at(0, 0), at(far, 0), at(0, far)].map((point) => [point.x, point.y]);
    return [(x[0] - o[0]) / far, (x[1] - o[1]) / far, (y[0] - o[0]) / far, (y[1] - o[1]) / far, o[0], o[1]];
  }

  // px of the canvas a um, along x.
  pxPerUm(map = this.map()) {
    return Math.hypot(map[0], map[1]) / this.frame.mpp_xy[0];
  }

  _draw() {
    if (!this.frame || !this.osd || !this.osd.world.getItemCount()) return this.overlay.clear();
    const map = this.map(), pxPerUm = this.pxPerUm(map);
    const upto = this.cells ? this.upto : 0;
    if (this.heatOn && this.cells && !this._heat) this._heated(upto);
    this.overlay.draw({
      cells: this.cells,
      upto,
      map,
      pxPerUm,
      frame: this.frame,
      ratio: this.ratio ?? 1,
      heat: this.heatOn ? this._heat : null,
      below: this.below || !this.store.hasThreshold,
      byCall: this.byTable,
      selected: this.selected,
      outlines: [...this.area, ...this.outlines],
      aim: this.adding,
    });
    this._scale(pxPerUm);
    this.frames.push(performance.now());
    if (this.frames.length > 2000) this.frames.splice(0, 1000);
    this.dispatchEvent(new Event("drawn"));
  }

  setHeat(on) {
    this.heatOn = on;
    this.heatBar.hidden = !on;
    this.redraw();
  }

  // The map once it is known where the tissue is.
  _heated(upto) {
    const { slide } = this, tissue = this._tissue?.of === slide ? this._tissue : null;
    if (tissue?.known !== undefined) {
      this._heat = heatPicture(this.cells, upto, this.frame, this.byTable, tissue.known);
      this.heatBar.lastChild.textContent = tissue.known ? "figures per mm² of tissue" : "figures per mm²";
    } else if (!tissue) {
      const asked = (this._tissue = { of: slide });
      const come = (known) => ((asked.known = known), this._tissue === asked && this._stale());
      this.store.tissue(slide).then(come, () => come(null));
    }
  }

  _scale(pxPerUm) {
    const um = NICE_UM.findLast((size) => size * pxPerUm <= BAR_PX) ?? NICE_UM[0];
    this.bar.style.width = `${um * pxPerUm}px`;
    if (this.bar.textContent !== length(um)) this.bar.textContent = length(um);
  }

  _place(event) {
    const box = this.node.getBoundingClientRect();
    return applied(inverted(this.map()), event.clientX - box.left, event.clientY - box.top);
  }

  _pointed(event) {
    if (!this.frame || !this.osd.world.getItemCount()) return;
    const [x, y] = this._place(event), [mx, my] = this.frame.mpp_xy;
    this.dispatchEvent(new CustomEvent("pointer", { detail: { x, y, x_um: (x + 0.5) * mx, y_um: (y + 0.5) * my } }));
  }

  _clicked(position) {
    if (!this.frame || !this.osd.world.getItemCount()) return;
    const map = this.map(), [x, y] = applied(inverted(map), position.x, position.y);
    if (this.adding) {
      this.dispatchEvent(new CustomEvent("add", { detail: { x, y } }));
      return;
    }
    this.select(this.pick(x, y, PICK_PX / this.pxPerUm(map)));
  }

  // How many cells count as figures here: cells are sorted by falling score.
  get upto() {
    return this.byTable && this.store.hasThreshold ? this.cells.figures : this.store.above(this.cells);
  }

  // Whether a cell is shown: called a figure, or decided, or everything below the threshold is asked for.
  shows(i, upto = this.upto) {
    return this.below || !this.store.hasThreshold || isCalled(this.cells, i, upto, this.byTable) || this.cells.shown[i] > 0;
  }

  // The row or the added cell that is shown nearest to a place, so many um away at most (8 in any case); null where there is none.
  pick(x, y, um) {
    const upto = this.cells ? this.upto : 0;
    return this._nearest(x, y, Math.max(um, 8), (i) => this.shows(i, upto) || i === this.selected);
  }

  // The row or the added cell at a place, to 2 um; null where there is none.
  nearest(x, y) {
    return this._nearest(x, y, 2, () => true);
  }

  _nearest(x, y, um, passes) {
    const { cells } = this;
    if (!cells) return null;
    const [mx, my] = this.frame.mpp_xy, far = (px, py) => Math.hypot((px - x) * mx, (py - y) * my);
    const row = cells.grid.nearest(x, y, um, passes, [mx, my]);
    let best = row < 0 ? null : row, least = row < 0 ? um : far(cells.x[row], cells.y[row]);
    for (const d of cells.added) {
      if (far(d.x, d.y) <= least) [best, least] = [d.key, far(d.x, d.y)]; // squares lie over rings
    }
    return best;
  }

  select(what) {
    this.selected = what;
    this.redraw();
    this.dispatchEvent(new CustomEvent("select", { detail: what }));
  }

  // The place of a row or of an added cell.
  placeOf(what) {
    if (what === null || !this.cells) return null;
    if (typeof what === "number") return [this.cells.x[what], this.cells.y[what]];
    const added = this.cells.added.find((d) => d.key === what);
    return added ? [added.x, added.y] : null;
  }

  get middle() {
    const { clientWidth, clientHeight } = this.node;
    return applied(inverted(this.map()), clientWidth / 2, clientHeight / 2);
  }

  get shown() {
    return boundsL0(this.map(), this.node.clientWidth, this.node.clientHeight);
  }

  // Shows a place with so many um over the shorter side.
  goTo(x, y, um = 160, immediately = false) {
    const { mpp, mpp_xy } = this.frame, viewport = this.osd.viewport;
    const shorter = Math.min(this.node.clientWidth, this.node.clientHeight);
    viewport.panTo(viewport.imageToViewportCoordinates(((x + 0.5) * mpp_xy[0]) / mpp, ((y + 0.5) * mpp_xy[1]) / mpp), immediately);
    if (um) viewport.zoomTo(viewport.imageToViewportZoom((shorter / um) * mpp), undefined, immediately);
  }

  // Shows a rectangle in level-0 px whole, turned as the slide is.
  fit([x0, y0, x1, y1], immediately = false) {
    const [mx, my] = this.frame.mpp_xy;
    const { clientWidth, clientHeight } = this.node;
    const angle = (this.osd.viewport.getRotation() * Math.PI) / 180;
    const [cos, sin] = [Math.abs(Math.cos(angle)), Math.abs(Math.sin(angle))];
    const wide = (x1 - x0) * mx * cos + (y1 - y0) * my * sin, tall = (x1 - x0) * mx * sin + (y1 - y0) * my * cos;
    const shorter = Math.min(clientWidth, clientHeight);
    const um = Math.max((wide * shorter) / clientWidth, (tall * shorter) / clientHeight) * 1.06;
    this.goTo((x0 + x1) / 2, (y0 + y1) / 2, um, immediately);
  }

  zoomBy(factor) {
    this.osd?.viewport.zoomBy(factor);
    this.osd?.viewport.applyConstraints();
  }

  panBy(dx, dy) {
    const viewport = this.osd?.viewport;
    if (!viewport) return;
    const delta = viewport.deltaPointsFromPixels(new OpenSeadragon.Point(dx, dy)).rotate(-viewport.getRotation());
    viewport.panBy(delta);
    viewport.applyConstraints();
  }

  home() {
    this.osd?.viewport.setRotation(0);
    this.osd?.viewport.goHome();
  }

  turn(degrees) {
    this.osd?.viewport.setRotation(this.osd.viewport.getRotation() + degrees);
  }

  fullScreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.node.requestFullscreen?.();
  }

  // What keys do on the glass.
  keys() {
    const step = ({ shiftKey }) => (shiftKey ? 400 : 120);
    return {
      ArrowLeft: (event) => this.panBy(-step(event), 0),
      ArrowRight: (event) => this.panBy(step(event), 0),
      ArrowUp: (event) => this.panBy(0, -step(event)),
      ArrowDown: (event) => this.panBy(0, step(event)),
      "+": () => this.zoomBy(1.6),
      "=": () => this.zoomBy(1.6),
      "-": () => this.zoomBy(1 / 1.6),
      0: () => this.home(),
      "[": () => this.turn(-15),
      "]": () => this.turn(15),
      f: () => this.fullScreen(),
    };
  }
}
