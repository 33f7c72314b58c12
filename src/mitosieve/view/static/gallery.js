// Crops of cells in batches, judged by keys.

import * as api from "./api.js";
import { VERDICT_OF, keyed, pressed, shortcut, verdictButtons } from "./buttons.js";
import { choice, el, isShare, scoreText, whole } from "./dom.js";
import { CALL_WORD, VERDICT_WORD } from "./words.js";

const SIZES = [32, 64, 128];
const NICE_UM = { 32: 10, 64: 20, 128: 50 };
const CAPTION_PX = 48;
const MOST_DETAILS = 200; // cells that the server tells of at once
export const MOST_ROWS = 20_000; // of one order, as gallery.py cuts it

export class GalleryView {
  constructor(store, page) {
    this.store = store;
    this.page = page;
    this.um = 32;
    this.rows = new Uint32Array(0);
    this.at = 0; // place of the chosen cell in the order
    this.batch = [];
    this.perPage = 24;
    const audit = store.session.kind === "audit";
    this.wanted = { rank: audit ? "suspicion" : store.hasThreshold ? "doubt" : "place", slide: "", calls: "", decided: "any", low: "", high: "" };
    this.grid = el("div", { class: "cards", role: "listbox", "aria-label": "Cells", "aria-keyshortcuts": "ArrowLeft ArrowRight ArrowUp ArrowDown Home End", tabindex: "0" });
    this.progress = el("p", { class: "soft", role: "status" });
    this.node = el("div", { class: "gallery" }, this._bar(), this.progress, this.grid, this._foot());
    this.lens = document.getElementById("lens");
    store.addEventListener("decisions", () => this._marks());
    store.addEventListener("threshold", () => (this._old = true));
    new ResizeObserver(() => this._fit()).observe(this.grid);
  }

  _bar() {
    const { session } = this.store, kind = session.kind;
    const change = (name) => (value) => {
      this.wanted[name] = value;
      this._toCells();
      this.load();
    };
    const ranks = [["doubt", "doubt: nearest to the threshold"], ["score", "score, highest first"], ["suspicion", "suspicion"], ["place", "place"]].filter(
      ([name]) => (name === "suspicion" ? kind === "audit" : name === "doubt" ? kind === "result" : true),
    );
    const calls = kind === "result" ? [["", "all"], ["figure", "figures (at the detector's threshold)"], ["candidate", "below the detector's threshold"]] : [["", "all"], ["figure", "figures"], ["imposter", "imposters"], ["background", "background"]];
    const number = (label, name) =>
      el("label", { class: "field narrow" }, el("span", {}, label), el("input", { type: "number", min: "0", max: "1", step: "0.01", placeholder: name === "low" ? "0" : "1", onchange: ({ target }) => (isShare(target, this.page) || (target.value = ""), change(name)(target.value)) }));
    this.sizePicker = choice("Crop", SIZES.map((um) => [um, `${um} µm`]), this.um, (value) => (this._toCells(), this.size(Number(value))), { "aria-keyshortcuts": shortcut("s", "Alt+4", "Alt+5", "Alt+6") });
    return el(
      "form",
      { class: "bar", onsubmit: (event) => event.preventDefault(), "aria-label": "Which cells" },
      choice("Order", ranks, this.wanted.rank, change("rank")),
      choice("Slide", [["", "all"], ...session.slides.map((slide) => [slide.number, slide.name])], "", change("slide")),
      choice("Called", calls, "", change("calls")),
      choice("Decided", [["any", "any"], ["none", "nothing yet"], ["figure", "figure"], ["imposter", "no figure"], ["unsure", "unsure"]], "any", change("decided")),
      kind === "result" ? number("Score from", "low") : null,
      kind === "result" ? number("to", "high") : null,
      this.sizePicker,
    );
  }

  _foot() {
    const { readOnly } = this.store.session;
    const row = (key, verdict) => keyed(key, `row: ${VERDICT_WORD[verdict]}`, () => this.decideRow(verdict), { disabled: readOnly });
    this.pages = el("span", { class: "soft" });
    return el(
      "div",
      { class: "foot row" },
      ...verdictButtons(readOnly, (verdict) => this.decide(verdict)),
      keyed("z", "undo", () => this._undo(), { disabled: readOnly }),
      row("A", "figure"),
      row("R", "imposter"),
      keyed(" ", "enlarge", () => this.zoom(), { shown: "Space" }),
      keyed("Enter", "place", () => this.toSlide()),
      keyed("p", "previous", () => this._to(this.at - 1)),
      keyed("n", "next", () => this._to(this.at + 1)),
      el("button", { type: "button", onclick: () => this._page(-1), "aria-label": "Previous page", "aria-keyshortcuts": "PageUp" }, "◂"),
      this.pages,
      el("button", { type: "button", onclick: () => this._page(1), "aria-label": "Next page", "aria-keyshortcuts": "PageDown" }, "▸"),
    );
  }

  // After a choice from a list keys mean the cells again: in the list a letter would choose.
  _toCells() {
    if (document.activeElement?.matches("select")) this.grid.focus({ preventScroll: true });
  }

  async show() {
    if (!this.loaded || this._old) await this.load();
    this.grid.focus({ preventScroll: true });
  }

  // Until the cells of these filters are here, none can be chosen: rows are those of the controls.
  async load() {
    const turn = (this._turn = (this._turn ?? 0) + 1);
    this.loaded = true;
    this._old = false;
    this.rows = new Uint32Array(0);
    this.at = 0;
    this.batch = [];
    this._from = this._shown = -1;
    this._known = false; // whether rows are those of the controls
    const query = new URLSearchParams({ ...this.wanted, threshold: this.store.threshold });
    for (const name of ["slide", "calls", "low", "high"]) if (!this.wanted[name]) query.delete(name);
    this.progress.textContent = "reading…";
    let rows;
    try {
      rows = new Uint32Array(await api.bytes(api.own(`/api/order?${query}`)));
    } catch (error) {
      if (turn !== this._turn) return;
      this.loaded = false;
      this._failed(error.message, () => this.load());
      return;
    }
    if (turn !== this._turn) return;
    this.rows = rows;
    this._known = true;
    await this._render();
  }

  _fit() {
    const columns = this.columns;
    const height = this.grid.clientHeight || innerHeight * 0.6;
    const card = (this.grid.clientWidth - 8) / columns + CAPTION_PX;
    const rows = Math.max(2, Math.floor((height + 8) / card));
    const per = columns * Math.max(1, Math.min(rows, Math.floor(MOST_DETAILS / columns)));
    if (per !== this.perPage) {
      this.perPage = per;
      this._from = -1;
      if (this.loaded) this._render();
    }
  }

  get columns() {
    return Math.max(1, getComputedStyle(this.grid).gridTemplateColumns.split(" ").length);
  }

  async _render() {
    if (!this._known) return;
    const { rows } = this, from = Math.floor(this.at / this.perPage) * this.perPage;
    if (from !== this._from) {
      this._from = from;
      const isLatest = () => this._from === from && this.rows === rows;
      let cells;
      try {
        cells = await this._details(from);
      } catch (error) {
        if (isLatest()) this._failed(error.message, () => this._render());
        return;
      }
      if (!isLatest()) return;
      this.batch = cells;
      this._shown = from;
      this.grid.replaceChildren(...cells.map((cell, place) => this._card(cell, from + place)));
      if (!cells.length) this.grid.replaceChildren(el("p", { class: "empty" }, "No cell is like this."));
      this._prefetch(from + this.perPage);
    }
    this._marks();
    this._choose();
  }

  // Whatever is done next asks for the page again.
  _failed(why, again) {
    this._from = this._shown = -1;
    this.batch = [];
    this.grid.replaceChildren(el("div", { class: "empty" }, el("p", {}, why), el("button", { type: "button", onclick: again }, "Try again")));
    this._told();
  }

  async _details(from) {
    const some = [...this.rows.slice(from, from + this.perPage)];
    if (!some.length) return [];
    this._kept ??= new Map();
    const key = some.join(",");
    if (!this._kept.has(key)) {
      const asked = api.json(`/api/cells?rows=${key}`);
      this._kept.set(key, asked);
      asked.catch(() => this._kept.delete(key)); // to be asked for again
    }
    if (this._kept.size > 4) this._kept.delete(this._kept.keys().next().value);
    return this._kept.get(key);
  }

  // The next page's pictures, so that they are there when it is turned.
  async _prefetch(from) {
    const cells = await this._details(from).catch(() => []);
    this._ahead = cells.map((cell) => {
      const image = new Image();
      image.src = this._address(cell);
      return image;
    });
  }

  _address(cell, um = this.um, px = 192) {
    return api.cropAddress(cell.slide, cell.x, cell.y, um, px);
  }

  _card(cell, place) {
    const name = this.store.slides[cell.slide].name;
    const stages = Object.entries(cell.stages).filter(([, value]) => value !== null);
    const words = [`${CALL_WORD[cell.call]}`, cell.score !== null ? `score ${scoreText(cell.score)}` : "", cell.suspicion !== null ? `suspicion ${cell.suspicion.toFixed(2)}` : "", name].filter(Boolean).join(", ");
    const image = el("img", { src: this._address(cell), alt: `Cell ${place + 1}: ${words}`, width: "192", height: "192", draggable: "false" });
    image.addEventListener("error", () => image.replaceWith(el("div", { class: "gone" }, "the slide cannot be read")));
    const shot = el("div", { class: "shot" }, image, scaleBar(this.um));
    const main = cell.suspicion !== null ? cell.suspicion.toFixed(2) : cell.score !== null ? scoreText(cell.score) : "";
    return el(
      "figure",
      { class: "card", role: "option", id: `card-${place}`, dataset: { place: String(place) }, onclick: () => this._to(place), ondblclick: () => this.toSlide() },
      shot,
      el(
        "figcaption",
        {},
        el("span", { class: "line" }, el("b", { title: cell.suspicion !== null ? "suspicion" : "score" }, main), el("span", { class: "state" }), el("span", { class: "name soft", title: name }, name)),
        el("span", { class: "line soft" }, el("span", { class: "stages", title: stages.map(([stage, value]) => `${stage} ${scoreText(value)}`).join(" · ") }, ...(stages.length > 1 ? stages.flatMap(([, value], n) => (n ? ["→", el("wbr"), scoreText(value)] : [scoreText(value)])) : [CALL_WORD[cell.call]]))),
      ),
    );
  }

  // Verdicts on the cards shown.
  _marks() {
    for (const card of this.grid.querySelectorAll(".card")) {
      const cell = this.batch[Number(card.dataset.place) - this._shown];
      if (!cell) continue;
      const verdict = this.store.verdictOf(cell.slide, cell.row);
      card.dataset.verdict = verdict;
      card.querySelector(".state").textContent = VERDICT_WORD[verdict] ?? "";
    }
    this._told();
  }

  _told() {
    const n = this.rows.length, { counts } = this.store;
    const decided = counts.figure + counts.imposter + counts.unsure;
    this.progress.textContent = n ? `${n === MOST_ROWS ? "the first " : ""}${whole(n)} cells in this order · decided so far: ${whole(decided)} (figure ${whole(counts.figure)}, no figure ${whole(counts.imposter)}, unsure ${whole(counts.unsure)})` : "";
    const pages = Math.max(1, Math.ceil(n / this.perPage));
    this.pages.textContent = `${Math.floor(this.at / this.perPage) + 1} of ${whole(pages)}`;
  }

  _choose() {
    for (const card of this.grid.querySelectorAll("[aria-selected=true]")) card.setAttribute("aria-selected", "false");
    const card = document.getElementById(`card-${this.at}`);
    card?.setAttribute("aria-selected", "true");
    card?.scrollIntoView({ block: "nearest" });
    if (card) this.grid.setAttribute("aria-activedescendant", card.id);
  }

  _to(place) {
    if (!this.rows.length) return;
    this.at = Math.min(this.rows.length - 1, Math.max(0, place));
    return this._render();
  }

  _page(by) {
    return this._to((Math.floor(this.at / this.perPage) + by) * this.perPage);
  }

  // The chosen cell; none while its page is not on the screen yet: what is not seen cannot be decided.
  get cell() {
    return this._shown === this._from ? (this.batch[this.at - this._shown] ?? null) : null;
  }

  // Decides the chosen cell and goes on; the key need not wait for the disk, which keeps the order.
  decide(verdict) {
    const { cell } = this;
    if (!cell) return this._nothing();
    this.store.decide([{ kind: "verdict", slide: cell.slide, row: cell.row, verdict, how: "gallery" }]);
    this._to(this.at + 1);
  }

  _nothing() {
    this.page.say(this._known && !this.rows.length ? "nothing decided: no cell is like this" : "nothing decided: the cells of this page are not here yet", true);
  }

  // All undecided cells of the chosen cell's row on the screen.
  decideRow(verdict) {
    if (!this.cell) return this._nothing();
    const { columns } = this, first = this.at - ((this.at - this._from) % columns);
    const some = this.batch.slice(first - this._from, first - this._from + columns);
    const open = some.filter(({ slide, row }) => !this.store.isDecided(slide, row));
    if (open.length) this.store.decide(open.map(({ slide, row }) => ({ kind: "verdict", slide, row, verdict, how: "gallery" })));
    this._to(first + columns);
  }

  size(um) {
    this.um = um;
    this.sizePicker.querySelector("select").value = String(um);
    this._from = -1;
    this._render();
  }

  toSlide() {
    const { cell } = this;
    if (cell) this.page.go("slide", { slide: cell.slide, place: [cell.x, cell.y], select: cell.row });
  }

  zoom() {
    const { cell } = this;
    if (!cell) return;
    const shots = [[32, 384], [128, 384]].map(([um, px]) => el("figure", { class: "card big" }, el("div", { class: "shot" }, el("img", { src: this._address(cell, um, px), alt: `${um} µm`, width: "384", height: "384" }), scaleBar(um)), el("figcaption", {}, `${um} µm`)));
    const decide = (verdict) => (this.decide(verdict), this.lens.close());
    const close = keyed(" ", "close", () => this.lens.close(), { shown: "Space", autofocus: true });
    this.lens.replaceChildren(el("div", { class: "shots" }, ...shots), el("div", { class: "row" }, ...verdictButtons(this.store.session.readOnly, decide), close));
    this.lens.showModal();
    this.lens.scrollTop = 0; // the focus is at its foot
  }

  lensKey(event) {
    if (!this.lens.open) return;
    if (event.key === " ") {
      event.preventDefault();
      this.lens.close();
      return;
    }
    const verdict = VERDICT_OF[event.key];
    if (verdict) {
      this.decide(verdict);
      this.lens.close();
    }
  }

  keys() {
    return {
      ...Object.fromEntries(Object.entries(VERDICT_OF).map(([key, verdict]) => [key, () => this.decide(verdict)])),
      ...Object.fromEntries(SIZES.map((um, place) => [`Alt+${4 + place}`, () => this.size(um)])),
      ArrowLeft: () => this._to(this.at - 1),
      ArrowRight: () => this._to(this.at + 1),
      ArrowUp: () => this._to(this.at - this.columns),
      ArrowDown: () => this._to(this.at + this.columns),
      n: () => this._to(this.at + 1),
      p: () => this._to(this.at - 1),
      A: () => this.decideRow("figure"),
      R: () => this.decideRow("imposter"),
      z: () => this._undo(),
      " ": () => this.zoom(),
      Enter: () => this.toSlide(),
      PageDown: () => this._page(1),
      PageUp: () => this._page(-1),
      Home: () => this._to(0),
      End: () => this._to(this.rows.length - 1),
      s: () => this.size(SIZES[(SIZES.indexOf(this.um) + 1) % SIZES.length]),
    };
  }

  key(event) {
    return pressed(event, this.keys());
  }

  // Takes back and goes to what was taken back, where it is in this order.
  async _undo() {
    const last = await this.store.undo();
    if (!last || last.row === null) return;
    const place = this.batch.findIndex((cell) => cell.slide === last.slide && cell.row === last.row);
    if (place >= 0) this._to(this._shown + place);
    else if (this.at > 0) this._to(this.at - 1);
  }
}

export function scaleBar(um) {
  const bar = el("span", { class: "mini-bar" }, `${NICE_UM[um]} µm`);
  bar.style.width = `${(100 * NICE_UM[um]) / um}%`;
  return bar;
}
