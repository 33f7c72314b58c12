// What the page knows: the session, cells by slide, and this reader's decisions. Tells listeners what changed.

import * as api from "./api.js";
import { Grid } from "./grid.js";

export const VERDICTS = ["", "figure", "imposter", "unsure"];
const SAME_CELL_UM = 7.5; // as review/pairing.py
const VERDICT_WEIGHT = ["imposter", "unsure", "figure"]; // of two on what was added twice the later here is meant
const POLL_MS = 2000;
const MOST_KEPT = 4; // slides whose cells are kept though nobody shows them: 21 bytes a cell

export class Store extends EventTarget {
  constructor(session) {
    super();
    this.session = session;
    api.setEdition(session.edition);
    api.setIdentity(session.identity);
    this.threshold = session.threshold ?? 0.5;
    this.slide = 0;
    this.lastCell = null;
    this._cells = new Map();
    this._come = []; // all that are here and in use, { slide, held }, whether still kept or not
    this._frames = new Map();
    this._tissue = new Map();
    this._decisions = [];
    this._known = new Set();
    this._offset = 0;
    this._standing = new Map(); // key -> decision
    this._byRow = new Map(); // "slide/row" -> decision
    this._addedIds = new Set(); // keys of cells that the detector had not found
    this._busy = Promise.resolve();
    this._unsaved = []; // what was decided and is not known to be on the disk, a press of a key each: see _entry
  }

  tell(what, detail = {}) {
    this.dispatchEvent(new CustomEvent(what, { detail }));
  }

  get slides() {
    return this.session.slides;
  }

  // Whether cells are sorted by score and a threshold says which are figures.
  get hasThreshold() {
    return this.session.threshold !== null;
  }

  setThreshold(value) {
    this.threshold = Math.min(1, Math.max(0, value));
    this.tell("threshold");
  }

  setSlide(number) {
    if (number === this.slide) return;
    this.slide = number;
    this.tell("slide");
  }

  frame(slide) {
    return this._once(this._frames, slide, () => api.json(`/api/slides/${slide}`));
  }

  tissue(slide) {
    return this._once(this._tissue, slide, () => api.tissueOf(slide));
  }

  // Cells of a slide with their grid, this reader's verdicts (numbers in VERDICTS), and what is shown of each: what was
  // added on a detection is that detection, as in review/cell.py, else it stands alone.
  cells(slide) {
    const asked = this._once(this._cells, slide, async () => {
      const [cells, frame] = await Promise.all([api.cellsOf(slide), this.frame(slide).catch(() => null)]);
      cells.mpp = frame?.mpp_xy;
      cells.grid = new Grid(cells.x, cells.y);
      cells.verdict = new Uint8Array(cells.n);
      cells.added = [];
      cells.figures = cells.call.reduce((sum, call) => sum + (call === 1), 0); // as the table calls them
      this._fill(slide, cells);
      this._come.push({ slide, held: new WeakRef(cells) });
      return cells;
    });
    this._cells.delete(slide); // the last that was asked for stands last
    this._cells.set(slide, asked);
    if (this._cells.size > MOST_KEPT) this._cells.delete(this._cells.keys().next().value);
    return asked;
  }

  _once(map, key, make) {
    if (!map.has(key)) {
      const made = make();
      map.set(key, made);
      made.catch(() => map.get(key) === made && map.delete(key)); // to be asked for again
    }
    return map.get(key);
  }

  // How many cells of a slide are at or above the threshold: they are sorted by falling score.
  above(cells) {
    if (!this.hasThreshold) return cells.n;
    let low = 0, high = cells.n;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cells.score[middle] >= this.threshold) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  // decisions

  get decisions() {
    return this._decisions;
  }

  standing(key) {
    return this._standing.get(key) ?? null;
  }

  // What this reader called a row; "" where nothing stands.
  verdictOf(slide, row) {
    return this._byRow.get(`${slide}/${row}`)?.verdict ?? "";
  }

  // Whether this reader has decided about a row, also where the answer of the disk is still awaited.
  isDecided(slide, row) {
    return this._byRow.has(`${slide}/${row}`) || this._unsaved.some(({ list }) => list.some((d) => d.slide === slide && d.row === row));
  }

  // What stands about cells of a slide that the detector had not found.
  addedOf(slide) {
    return [...this._standing.values()].filter((d) => d.slide === slide && this._addedIds.has(d.key));
  }

  get counts() {
    const counts = { figure: 0, imposter: 0, unsure: 0, added: 0 };
    for (const d of this._standing.values()) {
      counts[d.verdict]++;
      if (this._addedIds.has(d.key)) counts.added++;
    }
    return counts;
  }

  looked(slide) {
    const undone = this._undone();
    return this._decisions.filter((d) => d.kind === "looked" && d.slide === slide && !undone.has(d.id));
  }

  _undone() {
    const undone = new Set();
    for (let i = this._decisions.length - 1; i >= 0; i--) {
      const d = this._decisions[i];
      if (d.undoes && !undone.has(d.id)) undone.add(d.undoes);
    }
    return undone;
  }

  // As review/log.py: the latest about each cell that was not undone.
  _settle() {
    const undone = this._undone();
    this._standing = new Map();
    for (const d of this._decisions) if (d.kind !== "undo" && !undone.has(d.id) && d.key !== null) this._standing.set(d.key, d);
    this._byRow = new Map();
    for (const d of this._standing.values()) if (d.row !== null) this._byRow.set(`${d.slide}/${d.row}`, d);
    this._order = new Map(this._decisions.map((d, i) => [d.id, i]));
    this._since = new Map(); // of a row the first decision that was not taken back
    for (const [i, d] of this._decisions.entries()) {
      const row = `${d.slide}/${d.row}`;
      if (d.row !== null && d.kind === "verdict" && !undone.has(d.id) && !this._since.has(row)) this._since.set(row, i);
    }
    this._come = this._come.filter(({ held }) => held.deref());
    for (const { slide, held } of this._come) this._fill(slide, held.deref()); // at once: who is told next shows them
  }

  _fill(slide, cells) {
    cells.verdict.fill(0);
    for (const d of this._standing.values()) if (d.slide === slide && d.row !== null) cells.verdict[d.row] = VERDICTS.indexOf(d.verdict);
    cells.added = this.addedOf(slide);
    [cells.shown, cells.alone] = [cells.verdict.slice(), []];
    const once = []; // of what was added twice the first, as in review/cell.py; each keeps its square
    for (const d of cells.added) {
      const first = cells.mpp && once.find((one) => Math.hypot((one.x - d.x) * cells.mpp[0], (one.y - d.y) * cells.mpp[1]) <= SAME_CELL_UM);
      if (!first) once.push({ ...d });
      else if (VERDICT_WEIGHT.indexOf(d.verdict) > VERDICT_WEIGHT.indexOf(first.verdict)) first.verdict = d.verdict;
    }
    for (const d of once) {
      const since = (i) => this._since.get(`${slide}/${i}`), added = this._order.get(d.key);
      const isOpen = (i) => (since(i) === undefined ? !cells.shown[i] : since(i) > added); // as in review/cell.py
      const row = cells.mpp ? cells.grid.nearest(d.x, d.y, SAME_CELL_UM, isOpen, cells.mpp) : -1;
      if (row < 0) cells.alone.push(d);
      else if (since(row) === undefined) cells.shown[row] = VERDICTS.indexOf(d.verdict); // else what came later stands
    }
  }

  _take(decisions) {
    let news = false;
    for (const d of decisions) {
      if (this._known.has(d.id)) continue;
      this._known.add(d.id);
      this._decisions.push(d);
      if (d.kind === "added") this._addedIds.add(d.id);
      news = true;
    }
    if (news) {
      this._settle();
      this.tell("decisions");
    }
  }

  async refresh() {
    const { decisions, offset } = await api.json(api.own(`/api/decisions?since=${this._offset}`));
    this._offset = Math.max(this._offset, offset);
    this._take(decisions);
  }

  // Another tab of this reader may decide too.
  watch() {
    const again = async () => {
      if (!document.hidden) {
        try {
          await this.refresh();
          this.tell("reached");
        } catch (error) {
          this.tell("trouble", { why: error.message, from: "poll" });
        }
      }
      setTimeout(again, POLL_MS);
    };
    setTimeout(again, POLL_MS);
  }

  // One after another, in the order in which keys were pressed.
  decide(list) {
    if (this.session.readOnly) {
      this.tell("trouble", { why: "opened to be looked at only: decisions are not taken" });
      return Promise.resolve([]);
    }
    const entry = this._entry(list);
    this._unsaved.push(entry);
    return this._inTurn(() => this._save(entry));
  }

  // Adds a figure that the detector missed; null where this reader has added it already, a click before.
  async add(slide, x, y, how, [mx, my]) {
    const onTheirWay = this._unsaved.flatMap(({ list }) => list.filter((d) => d.kind === "added" && d.slide === slide));
    if ([...this.addedOf(slide), ...onTheirWay].some((d) => Math.hypot((d.x - x) * mx, (d.y - y) * my) <= SAME_CELL_UM)) {
      this.tell("trouble", { why: "there is one already here: click it to decide about it again" });
      return null;
    }
    const [made] = await this.decide([{ kind: "added", slide, x, y, verdict: "figure", how }]);
    if (made?.uncounted) this.tell("trouble", { why: `added, but ${made.uncounted}: no count holds it` });
    return made ?? null;
  }

  // `back`: what was taken back of it before it was known whether it had arrived; `since`: how many decisions were known when
  // it was sent for the first time, so that what arrived of it is among those after; null until it is sent.
  _entry(list) {
    return { list, back: [], failed: false, since: null };
  }

  // How many decisions could not be saved; they are kept until they are.
  get unsaved() {
    return this._unsaved.reduce((sum, { list, back, failed }) => sum + (failed ? list.length + back.length : 0), 0);
  }

  // How many are not known to be on the disk: those that could not be saved, and those on their way.
  get pending() {
    return this._unsaved.reduce((sum, { list, back }) => sum + list.length + back.length, 0);
  }

  retry() {
    return this._inTurn(() => this._save());
  }

  _inTurn(work) {
    const next = this._busy.then(work);
    this._busy = next.catch(() => {});
    return next;
  }

  // What an earlier try left goes first, or an older verdict would come to stand over a newer one.
  async _save(entry = null) {
    while (entry ? this._unsaved.includes(entry) : this._unsaved[0]?.failed) {
      const first = this._unsaved[0];
      let made = [];
      try {
        made = await this._send(first);
        this.tell("saved", { decisions: made });
      } catch (error) {
        if (!error.refused) first.failed = (entry ?? first).failed = true;
        first.refused = Boolean(error.refused);
        this.tell("trouble", { why: `not saved: ${error.message}`, from: "save" });
        this.tell("unsaved");
        if (!error.refused) return [];
      }
      this._unsaved.shift();
      this.tell("unsaved");
      if (first === entry) return made;
    }
    return [];
  }

  async _send(entry) {
    const { list, back } = entry;
    let some = list;
    if (entry.failed) {
      await this.refresh(); // of a try that arrived, though its answer did not: nothing is written twice
      const come = back.map((d) => this._arrived(entry, d)).filter((d) => d);
      some = [...list.filter((d) => !this._arrived(entry, d)), ...come.map(({ id }) => ({ kind: "undo", id }))];
      if (!some.length) return [];
    }
    entry.since ??= this._decisions.length;
    const { decisions, news, offset } = await api.send("/api/decisions", { decisions: some, since: this._offset, identity: this.session.identity });
    this._offset = Math.max(this._offset, offset);
    this._take(news); // in the order of the file, with what another tab decided between
    return decisions;
  }

  // What is on the disk of something that was sent, though no answer came.
  _arrived({ since }, asked) {
    const undone = this._undone(); // by another tab: what it took back was its own
    return since === null ? null : (this._decisions.slice(since).find((made) => isOf(made, asked) && !undone.has(made.id)) ?? null);
  }

  // Takes back the last decision, in its turn: pressed twice, the second takes back the one before.
  undo() {
    return this._inTurn(async () => {
      const kept = this._unsaved.findLast(({ list, failed }) => failed && list.some(({ kind }) => kind !== "undo"));
      if (kept) return this._withdraw(kept);
      const undone = this._undone();
      for (const { list } of this._unsaved) for (const { kind, id } of list) if (kind === "undo") undone.add(id);
      const last = this._decisions.findLast((d) => d.kind !== "undo" && !undone.has(d.id));
      if (!last || this.session.readOnly) {
        this.tell("trouble", { why: "nothing to undo" });
        return null;
      }
      const entry = this._entry([{ kind: "undo", id: last.id }]);
      this._unsaved.unshift(entry); // before what was decided after the key was pressed
      if ((await this._save(entry)).length) this.tell("undone", { decision: last });
      return last;
    });
  }

  // What has arrived though its answer did not is taken back by a line, as everything else; until the server can be asked it is kept.
  async _withdraw(entry) {
    const last = entry.list.pop();
    entry.back.push(last);
    try {
      await this.refresh();
      entry.back = entry.back.filter((d) => this._arrived(entry, d));
      if (entry.back.length) await this._save(entry);
    } catch (error) {
      this.tell("trouble", { why: `not saved: ${error.message}`, from: "save" });
    }
    this._unsaved = this._unsaved.filter(({ list, back }) => list.length || back.length);
    this.tell("unsaved");
    if (!entry.refused && (!entry.back.length || !this._unsaved.includes(entry))) this.tell("undone", { decision: last });
    return { ...last, row: last.row ?? null };
  }
}

// Whether a decision of the disk is what was asked for.
function isOf(made, asked) {
  if (made.kind !== asked.kind) return false;
  if (asked.kind === "undo") return made.undoes === asked.id;
  if (made.slide !== asked.slide) return false;
  if (asked.kind === "looked") return JSON.stringify(made.area) === JSON.stringify(asked.area);
  if (made.verdict !== asked.verdict) return false;
  if (asked.kind === "added") return made.x === asked.x && made.y === asked.y;
  return asked.row === undefined || asked.row === null ? made.key === asked.key : made.row === asked.row;
}
