// The page: which view is shown, which keys mean what, what is told at the foot.

import * as api from "./api.js";
import { el } from "./dom.js";
import { GalleryView } from "./gallery.js";
import { CountView } from "./count.js";
import { FilesView } from "./files.js";
import { ReadersView } from "./readers.js";
import { SlideTab } from "./slidetab.js";
import { Store } from "./store.js";
import { KEYS, SCORE_WORDS, undoneWords } from "./words.js";

const VIEWS = [
  ["slide", "Slide"],
  ["gallery", "Gallery"],
  ["count", "Count"],
  ["readers", "Readers"],
  ["files", "Files"],
];
const SHOWN_IN = { count: ["result"], gallery: ["result", "audit", "cohort"], readers: ["result", "audit", "cohort"], files: ["result", "audit", "cohort"] };
const CONTROLS = "button, a, input, summary";
// Keys that go on while they are held: they move. Of every other a press is one press, however long.
const HELD = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "PageDown", "PageUp", "+", "=", "-", "[", "]", "n", "p"]);
const $ = (id) => document.getElementById(id);

class Page {
  constructor(store) {
    this.store = store;
    this.views = new Map();
    this.current = null;
    const kind = store.session.kind;
    this.names = VIEWS.filter(([name]) => !SHOWN_IN[name] || SHOWN_IN[name].includes(kind));
    this._chrome();
    store.addEventListener("saved", () => this.say("saved"));
    store.addEventListener("undone", ({ detail }) => this.say(undoneWords(store, detail.decision), false, "", 5000));
    store.addEventListener("reached", () => this._from === "poll" && this.say(""));
    store.addEventListener("trouble", ({ detail }) => (detail.from === "poll" && store.unsaved) || this.say(detail.why, true, detail.from));
    store.addEventListener("unsaved", () => this._unsaved());
    $("unsaved").addEventListener("click", () => store.retry());
    addEventListener("beforeunload", (event) => store.pending && event.preventDefault());
    addEventListener("keydown", (event) => this._key(event));
    addEventListener("hashchange", () => this._follow());
  }

  _chrome() {
    const { session } = this.store;
    document.title = `${session.name} · mitosieve`;
    $("title").textContent = session.name;
    $("title").title = session.detector ? `found by ${session.detector}` : session.name;
    $("who").textContent = session.kind === "slides" ? "" : session.readOnly ? "read only" : `reader: ${session.reader}`;
    $("note").textContent = session.note;
    for (const [index, [name, word]] of this.names.entries()) {
      $("tabs").append(el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, "aria-keyshortcuts": String(index + 1), onclick: () => this.go(name) }, word, el("kbd", {}, String(index + 1))));
    }
    $("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
    $("help-open").addEventListener("click", () => this.help());
    this._helpWords();
  }

  _helpWords() {
    const rows = KEYS.map(([where, keys]) => el("section", {}, el("h3", {}, where), el("dl", {}, ...keys.flatMap(([key, what]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, what)]))));
    $("help").append(
      el("h2", { id: "help-title" }, "Keys and words"),
      el("p", {}, SCORE_WORDS),
      el("div", { class: "help-keys" }, ...rows),
      el("form", { method: "dialog" }, el("button", { type: "submit" }, "Close")),
    );
  }

  help() {
    $("help").showModal();
    $("help").scrollTop = 0; // the focus is at its foot
  }

  // What goes wrong with saving or with asking the server (`from`) stands until it goes well again.
  say(text, bad = false, from = "", ms = bad ? 6000 : 1500) {
    $("status").textContent = text;
    $("status").classList.toggle("bad", bad);
    this._from = from;
    clearTimeout(this._quiet);
    if (text && !from) this._quiet = setTimeout(() => this.say(""), ms);
  }

  _unsaved() {
    const { unsaved } = this.store;
    $("unsaved").hidden = unsaved === 0;
    $("unsaved").textContent = `${unsaved} not saved: try again`;
  }

  pointer(text) {
    $("pointer").textContent = text;
  }

  go(name, more = {}) {
    const view = this._view(name);
    if (!view) return;
    if (this.current !== view) {
      this.current?.hide?.();
      this.current = view;
      $("main").replaceChildren(view.node);
      for (const [other] of this.names) {
        const tab = $(`tab-${other}`);
        tab.setAttribute("aria-selected", String(other === name));
        tab.tabIndex = other === name ? 0 : -1;
      }
      $("main").dataset.view = name;
      if (location.hash !== `#${name}`) history.replaceState(null, "", `#${name}`);
    }
    view.show?.(more);
  }

  _view(name) {
    if (!this.names.some(([known]) => known === name)) return null;
    if (!this.views.has(name)) {
      const make = { slide: SlideTab, gallery: GalleryView, count: CountView, readers: ReadersView, files: FilesView }[name];
      const view = new make(this.store, this);
      for (const [key, value] of [["id", `panel-${name}`], ["role", "tabpanel"], ["aria-labelledby", `tab-${name}`]]) view.node.setAttribute(key, value);
      this.views.set(name, view);
    }
    return this.views.get(name);
  }

  // An address names a view, or a place on a slide: #slide/NUMBER/X/Y in level-0 px, as reports lead to it.
  _follow() {
    const [name, ...at] = location.hash.slice(1).split("/");
    const [slide, x, y] = at.map(Number);
    if (name === "slide" && at.length === 3 && this.store.slides[slide] && Number.isFinite(x) && Number.isFinite(y)) {
      history.replaceState(null, "", "#slide");
      this.go("slide", { slide, place: [x, y], select: "nearest" });
      return;
    }
    this.go(this.names.some(([known]) => known === name) ? name : "slide");
  }

  start() {
    this._follow();
  }

  _key(event) {
    const target = event.target;
    if (event.ctrlKey || event.metaKey) return; // the browser's own: nothing is decided by them, in no dialog either
    const typing = target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea");
    if (event.repeat && !typing && !HELD.has(event.key)) {
      if ([" ", "Enter"].includes(event.key) && target.matches?.(CONTROLS)) event.preventDefault(); // else a held button is pressed again
      return;
    }
    if (document.querySelector("dialog[open]")) {
      this.current?.lensKey?.(event);
      return;
    }
    if (typing) return;
    if (event.key === "?") return this._done(event, () => this.help());
    const number = Number(event.key);
    if (!event.altKey && Number.isInteger(number) && number >= 1 && number <= this.names.length) return this._done(event, () => this.go(this.names[number - 1][0]));
    if (target.getAttribute?.("role") === "tab" && ["ArrowLeft", "ArrowRight"].includes(event.key)) return this._done(event, () => this._nextTab(event.key === "ArrowRight" ? 1 : -1));
    const onControl = target.matches?.(CONTROLS) && [" ", "Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key);
    if (onControl) return;
    if (this.current?.key?.(event)) event.preventDefault();
  }

  _nextTab(step) {
    const names = this.names.map(([name]) => name), now = names.findIndex((name) => $(`tab-${name}`).getAttribute("aria-selected") === "true");
    const next = names[(now + step + names.length) % names.length];
    this.go(next);
    $(`tab-${next}`).focus();
  }

  _done(event, work) {
    event.preventDefault();
    work();
  }
}

function theme() {
  return document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  try {
    localStorage.setItem("mitosieve-theme", name);
  } catch {
    // a browser that keeps nothing: the choice lasts for this page
  }
}

async function boot() {
  try {
    const kept = localStorage.getItem("mitosieve-theme");
    if (kept) document.documentElement.dataset.theme = kept;
  } catch {
    // as above
  }
  if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the secret leaves the address bar
  try {
    const store = new Store(await api.json("/api/session"));
    const page = new Page(store);
    page.start();
    globalThis.mitosieve = { store, page }; // for tests and the console
    if (["result", "audit", "cohort"].includes(store.session.kind)) {
      await store.refresh();
      store.watch();
    }
  } catch (error) {
    $("main").replaceChildren(el("p", { class: "alert" }, error.message));
  }
}

boot();
