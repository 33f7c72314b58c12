// The slide view: one slide or two side by side, and a panel beside them.

import { json } from "./api.js";
import { VERDICT_OF, keyed, pressed } from "./buttons.js";
import { ChosenCell } from "./chosen.js";
import { DetectBox } from "./detection.js";
import { choice, digits, el, fact, isShare, length, toggle, whole } from "./dom.js";
import { INK } from "./overlay.js";
import { toScore, toSlide } from "./scale.js";
import { SlideView } from "./viewer.js";
import { CALL_WORD, SCORE_WORDS, heldWords } from "./words.js";

const COUNT_MS = 150;

export class SlideTab {
  constructor(store, page) {
    this.store = store;
    this.page = page;
    this.view = new SlideView(store);
    this.second = null;
    this.active = this.view; // whose cell is chosen, and decided
    this.linked = true;
    this.stage = el("div", { class: "stage" }, this.view.node);
    this.panel = el("aside", { class: "panel", "aria-label": "Slide" });
    this.node = el("div", { class: "split" }, this.stage, this.panel);
    this._build();
    this._wire();
  }

  _build() {
    const { store } = this, { session } = store;
    const names = session.slides.map((slide) => [slide.number, slide.name]);
    this.picker = choice("Slide", names, store.slide, (value) => this._pick(Number(value)), { id: "slide-picker" });
    this.fault = el("p", { class: "alert", hidden: true });
    this.chosen = new ChosenCell(store, (verdict) => this.decide(verdict));
    this.counted = el("dl", { class: "facts" });
    this.legend = el("section", { class: "legend" });
    const layers = el(
      "section",
      {},
      el("h2", {}, "Layers"),
      session.kind === "slides" ? null : toggle("Heat map: figures per mm²", false, (on) => this._heat(on), "h"),
      store.hasThreshold ? toggle("What is below the threshold here", false, (on) => this._below(on), "b") : null,
      toggle("Two slides side by side", false, (on) => this._sideBySide(on), "t"),
    );
    this.boxes = [...layers.querySelectorAll("input")];
    this.panel.append(this.picker, this.fault);
    if (store.hasThreshold) this.panel.append(this._threshold());
    if (session.kind === "slides") this.panel.append(new DetectBox(this.page).node);
    else this.panel.append(this.counted, this.chosen.node, this._buttons());
    this.panel.append(layers, this.legend, el("p", { class: "soft" }, SCORE_WORDS));
    this._legend();
  }

  _threshold() {
    const { store } = this;
    this.slider = el("input", { type: "range", min: "0", max: "1000", step: "1", id: "threshold", "aria-describedby": "threshold-words" });
    this.number = el("input", { type: "number", min: "0", max: "1", step: "0.0001", "aria-label": "Threshold as a number" });
    this.slider.addEventListener("input", () => store.setThreshold(toScore(Number(this.slider.value) / 1000)));
    this.number.addEventListener("change", () => {
      if (isShare(this.number, this.page)) store.setThreshold(this.number.valueAsNumber);
      else this.number.value = store.threshold.toFixed(4); // emptied, or no score: as it was
    });
    this.back = el("button", { type: "button", onclick: () => store.setThreshold(store.session.threshold) }, "the detector's own");
    return el(
      "section",
      { class: "threshold" },
      el("label", { for: "threshold" }, "Threshold"),
      this.number,
      this.slider,
      el("p", { class: "soft", id: "threshold-words" }, "Counts follow it at once. The table keeps the detector's own. ", this.back),
    );
  }

  _buttons() {
    const { readOnly } = this.store.session;
    this.addButton = keyed("i", "Add a missed figure", () => this._setAdding(!this.active.adding), { disabled: readOnly, "aria-pressed": "false" });
    return el("section", { class: "row" }, keyed("p", "previous", () => this._step(-1)), keyed("n", "next", () => this._step(1)), keyed("z", "undo", () => this.store.undo(), { disabled: readOnly }), this.addButton);
  }

  _legend() {
    const { kind } = this.store.session;
    if (kind === "slides") return;
    const line = (name, text) => el("li", {}, el("span", { class: `ring ${name}`, "aria-hidden": "true" }), text);
    this.legend.append(
      el("h2", {}, "Rings"),
      el(
        "ul",
        {},
        line("called", kind === "result" ? "called a figure, not yet looked at" : "marked a figure, not yet looked at"),
        line("candidate", kind === "result" ? "below the threshold" : "marked an imposter or background, not yet looked at"),
        line("figure", "decided: figure"),
        line("imposter", "decided: no figure"),
        line("unsure", "decided: unsure"),
        line("added", "added by hand"),
        this.store.slides.some(({ area }) => area.length) ? line("area", kind === "result" ? "the area that was searched" : "the area that was marked") : null,
      ),
    );
  }

  _wire() {
    const { store, view } = this;
    this._wireView(view);
    view.addEventListener("drawn", () => this._follow());
    store.addEventListener("threshold", () => this._recount());
    store.addEventListener("decisions", () => {
      this._selected();
      this._recount();
    });
  }

  _wireView(view) {
    view.addEventListener("select", () => this._activate(view));
    view.addEventListener("pointer", (event) => this._pointer(event.detail));
    view.addEventListener("add", (event) => this._add(view, event.detail.x, event.detail.y));
  }

  // One cell is chosen of both slides: keys and buttons mean the one that was clicked last.
  _activate(view) {
    const other = view === this.view ? this.second : this.view;
    this.active = view;
    if (other) {
      other.selected = null;
      other.redraw();
    }
    for (const one of [view, other]) one?.node.classList.toggle("active", one === view);
    this._selected();
  }

  // Keys mean the slide again, not the names in the list.
  _pick(number) {
    this.view.node.focus({ preventScroll: true });
    this.open(number);
  }

  // Whether it came to be the slide on the glass: another may have been opened meanwhile.
  async open(number) {
    const turn = (this._turn = (this._turn ?? 0) + 1);
    this.store.setSlide(number);
    this.picker.querySelector("select").value = String(number);
    const slide = this.store.slides[number];
    const words = [slide.fault, slide.warning && `Unlike the training's slides: ${slide.warning}`].filter(Boolean).join(" · ");
    this.fault.textContent = words;
    this.fault.hidden = !words;
    this.counted.replaceChildren();
    const opened = this.view.open(number);
    this._activate(this.view);
    try {
      await opened;
    } catch {
      return false; // the glass says why
    }
    if (turn !== this._turn) return false;
    this._recount(true);
    return true;
  }

  // A place: in level-0 px; to be chosen: a row, the key of an added cell, or "nearest", whatever the threshold. It does
  // not wait for the count: until the cell is chosen, keys would mean the one that was chosen before.
  async show({ place = null, slide = null, select = null } = {}) {
    if (!(await this.open(slide ?? this.store.slide)) || !place) return;
    this.view.goTo(...place, 160);
    if (select === "nearest") this.view.select(this.view.nearest(...place));
    else if (select !== null) this.view.select(select);
  }

  _recount(now = false) {
    this._thresholdShown();
    clearTimeout(this._counting);
    if (this.store.session.kind !== "result") return this._marks();
    const cells = this.view.cells;
    if (cells) this._live(this.store.above(cells));
    this._counting = setTimeout(() => this._count(), now ? 0 : COUNT_MS);
  }

  _thresholdShown() {
    if (!this.slider) return;
    const { threshold } = this.store;
    if (document.activeElement !== this.slider || Math.abs(toScore(this.slider.value / 1000) - threshold) > 0.002) this.slider.value = String(Math.round(1000 * toSlide(threshold)));
    if (document.activeElement !== this.number) this.number.value = threshold.toFixed(4);
    this.slider.setAttribute("aria-valuetext", threshold.toFixed(4));
    this.back.disabled = threshold === this.store.session.threshold;
  }

  // The number that needs no server, at once.
  _live(figures) {
    const shown = this.counted.querySelector("[data-figures]");
    if (shown) shown.textContent = whole(figures);
  }

  async _count() {
    const { store } = this, number = store.slide, threshold = store.threshold;
    const own = threshold === store.session.threshold;
    this._secondOutlines();
    let told;
    try {
      told = await json(this._countAddress(number));
    } catch (error) {
      if (number === store.slide && threshold === store.threshold) this.counted.replaceChildren(...fact("Figures", "–", error.message));
      return;
    }
    if (number !== store.slide || threshold !== store.threshold) return;
    outline(this.view, told);
    const score = told.nottingham_mitotic_score;
    this.counted.replaceChildren(
      ...fact("Figures", el("b", { dataset: { figures: "1" } }, whole(told.figures)), own ? "automatic" : "automatic, at this threshold"),
      ...fact("per mm² of tissue", el("b", {}, digits(told.figures_per_mm2, 2)), told.tissue_mm2 === null ? "tissue not known" : `${digits(told.tissue_mm2, 2)} mm²`),
      ...fact("Hotspot", el("b", {}, whole(told.hotspot.figures)), told.hotspot.note || heldWords(told.hotspot)),
      ...fact("Mitotic score", el("b", {}, score.score === null ? "–" : String(score.score)), score.score === null ? score.reason : "Nottingham, of the hotspot", score.reason),
    );
  }

  _marks() {
    const cells = this.view.cells;
    if (!cells) return;
    const calls = this.store.session.calls, number = new Map();
    for (let i = 0; i < cells.n; i++) number.set(calls[cells.call[i]], (number.get(calls[cells.call[i]]) ?? 0) + 1);
    const decided = cells.verdict.reduce((sum, value) => sum + (value > 0), 0);
    this.counted.replaceChildren(
      ...["figure", "imposter", "background"].flatMap((name) => (number.get(name) ? fact(`Marked: ${CALL_WORD[name]}`, el("b", {}, whole(number.get(name)))) : [])),
      ...fact("Looked at", el("b", {}, `${whole(decided)} of ${whole(cells.n)}`)),
      ...fact("Added", el("b", {}, whole(cells.added.length))),
    );
  }

  _pointer(at) {
    this.page.pointer(at ? `x ${length(at.x_um)}  y ${length(at.y_um)}  ·  px ${Math.round(at.x)}, ${Math.round(at.y)}` : "");
  }

  _selected() {
    const view = this.active;
    this.chosen.show(view, view === this.second ? this.store.slides[view.slide].name : null);
  }

  async decide(verdict) {
    const { active: view, store } = this, what = view.selected;
    if (!view.placeOf(what)) {
      this.page.say("choose a cell first: click it, or press n", true);
      return;
    }
    const about = typeof what === "number" ? { row: what } : { key: what };
    await store.decide([{ kind: "verdict", slide: view.slide, verdict, how: "slide", ...about }]);
  }

  _setAdding(on) {
    if (this.store.session.readOnly) on = false;
    for (const view of this._views) {
      view.adding = on;
      view.redraw();
    }
    this.stage.classList.toggle("adding", on);
    this.addButton?.setAttribute("aria-pressed", String(on));
    if (!on) return;
    this.active.node.focus({ preventScroll: true }); // arrows move to the cross and Enter adds, not the button again
    this.page.say("click the missed figure, or move it to the cross and press Enter; Esc leaves");
  }

  async _add(view, x, y) {
    const { slide } = view;
    const decision = await this.store.add(slide, x, y, "slide", view.frame.mpp_xy);
    if (decision && view.slide === slide) view.select(decision.row ?? decision.key);
  }

  // Layers are those of both slides.
  get _views() {
    return this.second ? [this.view, this.second] : [this.view];
  }

  _heat(on) {
    for (const view of this._views) view.setHeat(on);
  }

  _below(on) {
    for (const view of this._views) {
      view.below = on;
      view.redraw();
    }
  }

  _sideBySide(on) {
    if (!on) {
      this.second?.node.remove();
      this.stage.classList.remove("two");
      this.secondBox?.remove();
      this._activate(this.view);
      return;
    }
    if (!this.second) {
      this.second = new SlideView(this.store, { label: "Second slide" });
      this.second.adding = this.view.adding;
      this.second.below = this.view.below;
      this.second.setHeat(this.view.heatOn);
      this._wireView(this.second);
      const names = this.store.slides.map((slide) => [slide.number, slide.name]);
      const other = this.store.slides.length > 1 ? (this.store.slide + 1) % this.store.slides.length : this.store.slide;
      this.secondBox = el("div", { class: "second-box" }, choice("Second", names, other, (value) => this._pickSecond(Number(value))), toggle("Move together", true, (value) => (this.linked = value)));
      this._other = other;
    }
    this.stage.append(this.second.node);
    this.second.node.append(this.secondBox);
    this.stage.classList.add("two");
    this._openSecond(this._other);
  }

  _pickSecond(number) {
    this.second.node.focus({ preventScroll: true });
    this._openSecond(number);
  }

  _openSecond(number) {
    this._other = number;
    this.second.open(number).catch(() => {}).then(() => {
      this._lock();
      this._secondOutlines();
    });
    if (this.active === this.second) this._selected(); // what was chosen there is gone
  }

  async _secondOutlines() {
    const { second: view, store } = this, slide = view?.slide, { threshold } = store;
    if (!view?.node.isConnected || store.session.kind !== "result") return;
    const told = await json(this._countAddress(slide)).catch(() => null); // a slide that was not counted has no outline
    if (told && view.slide === slide && threshold === store.threshold) outline(view, told);
  }

  _countAddress(slide) {
    const { threshold, session } = this.store;
    return `/api/slides/${slide}/count${threshold === session.threshold ? "" : `?threshold=${threshold}`}`;
  }

  // From here on both move by the same um.
  _lock() {
    if (!this.second?.frame || !this.view.frame) return;
    this.second.osd.viewport.zoomBy(this.view.pxPerUm() / this.second.pxPerUm(), undefined, true);
    this._last = this._where();
  }

  _where() {
    return { middle: this.view.middle, scale: this.view.pxPerUm() };
  }

  _follow() {
    if (!this.linked || !this.second?.frame || !this.second.node.isConnected || !this._last || !this.view.frame) return;
    const now = this._where(), [mx, my] = this.view.frame.mpp_xy, [sx, sy] = this.second.frame.mpp_xy;
    const dx = ((now.middle[0] - this._last.middle[0]) * mx) / sx, dy = ((now.middle[1] - this._last.middle[1]) * my) / sy;
    const zoom = now.scale / this._last.scale;
    if (Math.abs(dx) + Math.abs(dy) < 0.01 && Math.abs(zoom - 1) < 1e-4) return;
    this._last = now;
    const [x, y] = this.second.middle;
    if (Math.abs(zoom - 1) > 1e-4) this.second.osd.viewport.zoomBy(zoom, undefined, true);
    this.second.goTo(x + dx, y + dy, 0, true);
  }

  // The next or previous of the cells that this view counts, by falling score, and then of those that were added.
  _step(by) {
    const { active: view, store } = this, { cells, selected } = view;
    if (!cells) return;
    const upto = view.below || !store.hasThreshold ? cells.n : store.above(cells), n = upto + cells.added.length;
    if (!n) {
      this.page.say("no cell at this threshold", true);
      return;
    }
    let from = typeof selected === "number" ? selected : upto + cells.added.findIndex(({ key }) => key === selected);
    if (selected === null) from = by > 0 ? -1 : n;
    else if (typeof selected === "number" && selected >= upto) from = by > 0 ? upto - 1 : upto; // chosen though it is below the threshold
    const next = (from + by + n) % n, what = next < upto ? next : cells.added[next - upto].key;
    view.select(what);
    view.goTo(...view.placeOf(what), 160);
  }

  // What keys do here, those of the glass with them.
  keys() {
    const { active: view, store } = this;
    const boxes = [...this.boxes].flatMap((box) => (box.getAttribute("aria-keyshortcuts") ? [[box.getAttribute("aria-keyshortcuts"), () => box.click()]] : []));
    const glass = { ...(this.linked ? this.view : view).keys(), ...Object.fromEntries(boxes) };
    if (store.session.kind === "slides") return glass;
    return {
      ...glass,
      ...Object.fromEntries(Object.entries(VERDICT_OF).map(([key, verdict]) => [key, () => this.decide(verdict)])),
      z: () => store.undo(),
      i: () => this._setAdding(!view.adding),
      n: () => this._step(1),
      p: () => this._step(-1),
      Escape: () => (this._setAdding(false), view.select(null)),
      Enter: () => view.adding && this._add(view, ...view.middle),
    };
  }

  key(event) {
    return pressed(event, this.keys());
  }

  hide() {
    this._setAdding(false);
    this.page.pointer("");
  }
}

function outline(view, { hotspot }) {
  view.outlines = hotspot.outline_l0 ? [{ points: hotspot.outline_l0, ink: INK.hotspot }] : [];
  view.redraw();
}
