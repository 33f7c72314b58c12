// The reviewed count: hotspot fields one after another, automatic and reviewed numbers beside one another.

import { cropAddress, json, own } from "./api.js";
import { VERDICT_OF, keyed, pressed, verdictButtons } from "./buttons.js";
import { choice, digits, el, scoreText, whole } from "./dom.js";
import { fieldsOf, same, tissueFields } from "./fields.js";
import { INK } from "./overlay.js";
import { SlideView } from "./viewer.js";
import { VERDICT_WORD } from "./words.js";

const FRAME_MS = 200;

export class CountView {
  constructor(store, page) {
    this.store = store;
    this.page = page;
    this.view = new SlideView(store, { label: "Field", byTable: true });
    this.at = 0;
    this.fields = [];
    this.told = null;
    const names = store.slides.map((slide) => [slide.number, slide.name]);
    this.picker = choice("Slide", names, store.slide, (value) => this.open(Number(value)));
    this._wanted = "automatic"; // what the reader chose; a slide without that hotspot is gone through whole
    this.which = choice("Fields of", [["automatic", "the automatic hotspot"], ["reviewed", "the reviewed hotspot"], ["tissue", "the whole tissue"]], "automatic", (value) => {
      this._wanted = value;
      this.view.node.focus({ preventScroll: true });
      this._divide(true);
    });
    this.table = el("div", { class: "wide" });
    this.can = el("p", { class: "can", role: "status" });
    this.progress = el("p", { class: "soft" });
    this.cells = el("div", { class: "strip", role: "list", "aria-label": "Cells of this field" });
    const { readOnly } = store.session;
    this.said = el("p", { class: "soft", role: "status" }); // of the chosen cell
    this.done = keyed("Enter", "Looked through", () => this.looked(), { class: "main", disabled: readOnly });
    this.addButton = keyed("i", "Add a missed figure", () => this._setAdding(!this.view.adding), { disabled: readOnly, "aria-pressed": "false" });
    this.belowButton = keyed("b", "Below the threshold here", () => this._below(), { "aria-pressed": "false" });
    this.panel = el(
      "aside",
      { class: "panel", "aria-label": "Count" },
      this.picker,
      this.table,
      this.can,
      this.which,
      this.progress,
      el("div", { class: "row" }, el("button", { type: "button", "aria-label": "Field before", "aria-keyshortcuts": "Backspace", onclick: () => this.field(this.at - 1) }, "◂"), this.done, el("button", { type: "button", "aria-label": "Next field", onclick: () => this.field(this.at + 1) }, "▸")),
      this.said,
      el("div", { class: "row" }, ...verdictButtons(readOnly, (verdict) => this.decide(verdict)), keyed("p", "previous", () => this._step(-1)), keyed("n", "next", () => this._step(1)), keyed("z", "undo", () => store.undo(), { disabled: readOnly })),
      this.cells,
      el("div", { class: "row" }, this.addButton, this.belowButton),
      el("p", { class: "soft" }, "Go through each field: decide its cells (a, r, u; n and p go from one to the next), add what was missed, then Enter. What is not decided counts as the detector called it."),
    );
    this.node = el("div", { class: "split" }, el("div", { class: "stage" }, this.view.node), this.panel);
    this.view.addEventListener("select", () => this._cellsShown());
    this.view.addEventListener("add", (event) => this._add(event.detail.x, event.detail.y));
    this.view.addEventListener("pointer", (event) => this.page.pointer(event.detail ? `px ${Math.round(event.detail.x)}, ${Math.round(event.detail.y)}` : ""));
    store.addEventListener("decisions", () => this._later());
    new ResizeObserver(() => this._resized()).observe(this.view.node);
  }

  // The field stays in its frame; a view that only comes back is as it was.
  _resized() {
    const { clientWidth, clientHeight } = this.view.node, size = `${clientWidth} ${clientHeight}`;
    if (!clientWidth || size === this._size) return;
    const isFirst = this._size === undefined;
    this._size = size;
    clearTimeout(this._framing);
    if (!isFirst) this._framing = setTimeout(() => this.fields.length && this.view.frame && this.view.fit(this.fields[this.at].box, true), FRAME_MS); // once the glass has its size
  }

  async show() {
    await this.open(this.store.slide);
  }

  async open(number) {
    this.store.setSlide(number);
    this.picker.querySelector("select").value = String(number);
    const again = this._of === number && this.fields.length;
    if (!again) this._forget();
    try {
      await this.view.open(number);
    } catch {
      return; // the glass says why
    }
    const tissue = await this.store.tissue(number).catch(() => null);
    if (number !== this.store.slide) return; // another was opened meanwhile
    this._tissue = tissue;
    const counted = this._count();
    if (!again) {
      while (!this.told && this.can.textContent === "counting…") await new Promise((done) => setTimeout(done, 50));
      if (number !== this.store.slide) return;
      this._divide(true);
    }
    counted.catch(() => {});
    this.view.node.focus({ preventScroll: true });
  }

  // Nothing of a slide before is left to be looked at or marked as looked through, whether this one's count comes or not.
  _forget() {
    this._of = null; // the slide that the fields lie on
    this._key = undefined;
    this.told = null;
    this.fields = [];
    this.at = 0;
    this.outline = null;
    this.view.outlines = [];
    this.view.redraw();
    for (const part of [this.table, this.can, this.progress, this.said, this.cells]) part.replaceChildren();
  }

  _later() {
    if (!this.node.isConnected) return;
    this._cellsShown();
    clearTimeout(this._waiting);
    this._waiting = setTimeout(() => this._count(), 120);
  }

  async _count() {
    const number = this.store.slide;
    if (!this.told) this.can.textContent = "counting…";
    const turn = (this._turn = (this._turn ?? 0) + 1);
    // the numbers at once; which decisions can change the score takes longer where many are open
    for (const how of ["?at_once=yes", ""]) {
      try {
        const told = await json(own(`/api/slides/${number}/reviewed${how}`));
        if (number !== this.store.slide || turn !== this._turn) return;
        this.told = told;
      } catch (error) {
        if (number === this.store.slide && turn === this._turn) this.can.textContent = error.message;
        return;
      }
      this._numbers();
      this._divide(false);
    }
  }

  _numbers() {
    const { automatic, reviewed, in_hotspot, deciding, is_exact, rejected, accepted, added, open } = this.told;
    const row = (name, one, two, title = "") => el("tr", { title }, el("th", { scope: "row" }, name), el("td", {}, one), el("td", {}, el("b", {}, two)));
    const score = (part) => (part.score === null ? "–" : String(part.score));
    this.table.replaceChildren(
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, el("th", {}), el("th", {}, "automatic"), el("th", {}, "reviewed"))),
        el(
          "tbody",
          {},
          row("Figures", whole(automatic.figures), whole(reviewed.figures)),
          row("per mm²", digits(automatic.per_mm2, 1), digits(reviewed.per_mm2, 1)),
          row("In its hotspot", whole(automatic.hotspot.figures), whole(reviewed.hotspot.figures), reviewed.hotspot.note),
          row("In the automatic one", whole(automatic.hotspot.figures), whole(automatic.hotspot.figures === null ? null : in_hotspot)),
          row("Mitotic score", score(automatic), score(reviewed), reviewed.reason),
        ),
      ),
      el("p", { class: "soft" }, `rejected ${rejected} · accepted ${accepted} · added ${added} · open ${whole(open)}`),
    );
    const n = deciding.length;
    const none = reviewed.score === null ? `No mitotic score: ${reviewed.reason}. ` : "";
    if (!this.told.is_searched && n) {
      this.can.textContent = none || "Which decisions can still change the score? Being computed…";
      return;
    }
    this.can.replaceChildren(
      n === 0
        ? none || "No open decision can change the score any more."
        : el("span", {}, none, el("b", {}, whole(n)), ` ${n === 1 ? "decision" : "decisions"} can still change the score${is_exact ? "" : " (about)"}. `, keyed("d", "show the next", () => this._nextDeciding())),
    );
  }

  _nextDeciding() {
    const open = this.told?.deciding ?? [];
    if (!open.length) return;
    const from = open.indexOf(this.view.selected);
    const what = open[(from + 1) % open.length], place = this.view.placeOf(what);
    if (!place) return;
    const field = this.fields.findIndex(({ box: [x0, y0, x1, y1] }) => place[0] >= x0 && place[0] <= x1 && place[1] >= y0 && place[1] <= y1);
    if (field >= 0) this.field(field);
    this.view.select(what);
    this.view.goTo(...place, 160);
  }

  // Of what the fields are: of what was chosen, or where there is no such hotspot of all tissue.
  _part() {
    const select = this.which.querySelector("select");
    for (const option of select.options) option.disabled = option.value !== "tissue" && !this.told[option.value].hotspot.outline_l0;
    select.value = [...select.options].find((option) => option.value === this._wanted && !option.disabled)?.value ?? "tissue";
    return select.value;
  }

  // Fields that cover the hotspot's box, row by row, every other row backwards; of a circle those that meet it. Of the whole
  // slide those that hold tissue.
  _divide(restart) {
    if (!this.told || !this.view.frame || this.view.slide !== this.store.slide) return;
    this._of = this.view.slide;
    const part = this._part(), outline = part === "tissue" ? null : this.told[part].hotspot.outline_l0;
    this.note = part !== this._wanted ? this.told[this._wanted].hotspot.note : "";
    this.outline = outline;
    const key = JSON.stringify(outline);
    if (key !== this._key || restart) {
      this._key = key;
      this.fields = outline ? fieldsOf(outline, this.view.frame) : tissueFields(this.view.frame, this._tissue);
      this.at = 0;
      const looked = this._lookedAt();
      const first = looked.findIndex((done) => !done);
      if (this.fields.length) this.field(first >= 0 ? first : 0, true);
    }
    this._outlines();
  }

  _lookedAt() {
    const areas = this.store.looked(this.store.slide);
    return this.fields.map(({ corners }) => areas.some((d) => d.area && same(d.area, corners)));
  }

  _outlines() {
    const looked = this._lookedAt();
    const field = this.fields[this.at];
    this.view.outlines = [
      ...this.fields.flatMap(({ corners }, i) => (looked[i] && i !== this.at ? [{ points: corners, ink: INK.field, wide: 1, fill: "rgba(20, 40, 60, 0.25)" }] : [])),
      ...(this.outline ? [{ points: this.outline, ink: INK.hotspot }] : []),
      ...(this.told && this.told.reviewed.hotspot.outline_l0 ? [{ points: this.told.reviewed.hotspot.outline_l0, ink: INK.figure, dash: [8, 5] }] : []),
      ...(field ? [{ points: field.corners, ink: INK.field, wide: 2 }] : []),
    ];
    this.view.redraw();
    const done = looked.filter(Boolean).length;
    this.progress.textContent = this.fields.length
      ? `${this.note ? `${this.note}; the whole tissue instead. ` : ""}Field ${this.at + 1} of ${this.fields.length}, ${field.words}${looked[this.at] ? " · looked through" : ""} · ${done} looked through`
      : "There is no tissue to go through.";
  }

  field(number, immediately = false) {
    if (!this.fields.length) return;
    this.at = (number + this.fields.length) % this.fields.length;
    this.view.fit(this.fields[this.at].box, immediately);
    const first = this._inField()[0] ?? null;
    this.view.select(first);
    this._outlines();
  }

  // Cells of this field that were decided or count, at the detector's own threshold as in the numbers beside them; by score.
  _inField() {
    const field = this.fields[this.at], { cells } = this.view;
    if (!field || !cells) return [];
    const [x0, y0, x1, y1] = field.box, { upto } = this.view;
    const rows = cells.grid.inside(x0, y0, x1, y1).filter((i) => this.view.shows(i, upto));
    rows.sort((one, other) => cells.score[other] - cells.score[one] || one - other);
    const added = cells.added.filter((d) => d.x >= x0 && d.x <= x1 && d.y >= y0 && d.y <= y1).map((d) => d.key);
    return [...rows, ...added];
  }

  _cellsShown() {
    const { cells } = this.view;
    if (!cells) return;
    const some = this._inField();
    this._say(some);
    const shown = some.slice(0, 60).map((what) => this._thumb(what));
    this.cells.replaceChildren(...shown, ...(some.length ? [] : [el("p", { class: "soft" }, "No cell in this field.")]), ...(some.length > 60 ? [el("p", { class: "soft" }, `and ${some.length - 60} more`)] : []));
  }

  // The chosen cell in words, for who does not see its ring.
  _say(some) {
    const { selected } = this.view, number = some.indexOf(selected);
    const { words, verdict } = this.view.placeOf(selected) ? this._about(selected) : {};
    const said = words ? `${number < 0 ? "Cell of another field" : `Cell ${number + 1} of ${some.length}`}: ${words}, ${VERDICT_WORD[verdict] ?? "not decided"}` : "";
    if (this.said.textContent !== said) this.said.textContent = said;
  }

  _about(what) {
    const { cells } = this.view, added = typeof what !== "number";
    const verdict = added ? cells.added.find((d) => d.key === what)?.verdict : ["", "figure", "imposter", "unsure"][cells.shown[what]];
    return { verdict, words: added ? "added" : scoreText(cells.score[what]) };
  }

  _thumb(what) {
    const place = this.view.placeOf(what), { verdict, words } = this._about(what);
    const address = cropAddress(this.store.slide, place[0], place[1], 32, 96);
    return el(
      "button",
      { type: "button", class: "thumb", role: "listitem", dataset: { verdict: verdict ?? "" }, "aria-current": this.view.selected === what ? "true" : null, "aria-label": `${words}, ${VERDICT_WORD[verdict] ?? "not decided"}`, onclick: () => this._choose(what) },
      el("img", { src: address, alt: "", width: "60", height: "60" }),
      el("span", {}, words),
      el("span", { class: "state" }, VERDICT_WORD[verdict] ?? "open"),
    );
  }

  _choose(what) {
    this.view.select(what);
    const place = this.view.placeOf(what), [x0, y0, x1, y1] = this.view.shown;
    if (place && (place[0] < x0 || place[0] > x1 || place[1] < y0 || place[1] > y1)) this.view.goTo(...place, 0);
    this.view.node.focus({ preventScroll: true });
  }

  _step(by) {
    const some = this._inField();
    if (!some.length) return;
    const from = some.indexOf(this.view.selected);
    this._choose(some[(from + by + some.length) % some.length]);
  }

  // Goes on at once, as the gallery does: the next key means the next cell.
  decide(verdict) {
    const what = this.view.selected;
    if (!this.view.placeOf(what)) return this.page.say("choose a cell first: n goes to the next one", true);
    const about = typeof what === "number" ? { row: what } : { key: what };
    this.store.decide([{ kind: "verdict", slide: this.store.slide, verdict, how: "hotspot", ...about }]);
    if (!this.store.session.readOnly) this._nextOpen();
  }

  _nextOpen() {
    const { slide } = this.store, some = this._inField(), from = some.indexOf(this.view.selected);
    const open = [...some.slice(from + 1), ...some.slice(0, from + 1)].find((what) => typeof what === "number" && !this.store.isDecided(slide, what));
    if (open !== undefined) this._choose(open);
  }

  async looked() {
    const field = this.fields[this.at], { slide } = this.store;
    if (!field || this._of !== slide || this._looking || this.store.session.readOnly) return;
    this._looking = true; // the field on the screen stays until it is saved: a second Enter would mean it again
    if (!this._lookedAt()[this.at]) await this.store.decide([{ kind: "looked", slide, area: field.corners, how: "hotspot" }]);
    this._looking = false;
    if (this._of !== slide) return;
    const looked = this._lookedAt(), order = [...looked.keys()].map((k) => (this.at + 1 + k) % looked.length);
    const next = order.find((k) => !looked[k]);
    if (next === undefined) {
      this._outlines();
      this.page.say(`all fields of ${this.outline ? "this hotspot" : "the tissue"} are looked through`);
    } else this.field(next);
  }

  _setAdding(on) {
    this.view.adding = on && !this.store.session.readOnly;
    this.addButton.setAttribute("aria-pressed", String(this.view.adding));
    this.node.firstChild.classList.toggle("adding", this.view.adding);
    this.view.redraw();
    if (!this.view.adding) return;
    this.view.node.focus({ preventScroll: true }); // arrows move to the cross and Enter adds, not the button again
    this.page.say("click the missed figure, or move it to the cross and press Enter; Esc leaves");
  }

  async _add(x, y) {
    const decision = await this.store.add(this.store.slide, x, y, "hotspot", this.view.frame.mpp_xy);
    if (decision) this.view.select(decision.row ?? decision.key);
  }

  _below() {
    this.view.below = !this.view.below;
    this.belowButton.setAttribute("aria-pressed", String(this.view.below));
    this.view.redraw();
    this._cellsShown();
  }

  // What keys do here, those of the glass with them.
  keys() {
    return {
      ...this.view.keys(),
      ...Object.fromEntries(Object.entries(VERDICT_OF).map(([key, verdict]) => [key, () => this.decide(verdict)])),
      z: () => this.store.undo(),
      n: () => this._step(1),
      p: () => this._step(-1),
      d: () => this._nextDeciding(),
      i: () => this._setAdding(!this.view.adding),
      b: () => this._below(),
      Escape: () => this._setAdding(false),
      Enter: () => (this.view.adding ? this._add(...this.view.middle) : this.looked()),
      Backspace: () => this.field(this.at - 1),
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
