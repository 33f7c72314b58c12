// What can be taken away.

import { own } from "./api.js";
import { el } from "./dom.js";

// As a shell takes a name.
const quoted = (name) => (/^[\w@%+=:,.\/-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`);

// A detector in a folder is not named: where the folder lies the page is not told.
function commands({ kind, name, detector, packaged }) {
  const adapt = `mitosieve adapt ${packaged ? quoted(detector) : "DETECTOR"} ${quoted(name)} --out NEW`;
  return [`mitosieve import reviews ${quoted(name)} ${kind === "cohort" ? quoted(name) : "COHORT"} --out NEW`, ...(kind === "result" ? [adapt] : [])].join("\n");
}

export class FilesView {
  constructor(store) {
    this.store = store;
    const isResult = store.session.kind === "result";
    this.all = el("input", { type: "checkbox", onchange: () => this._links() });
    this.list = el("div", {});
    this.isResult = isResult;
    this.node = el(
      "div",
      { class: "page" },
      el(
        "section",
        {},
        el("h2", {}, "Files"),
        el("p", {}, "What is not decided stands in them as the detector called it. All decisions, with who and when, are in ", el("code", {}, "decisions.jsonl"), " of the folder that was opened; nothing there is ever rewritten."),
        el("label", { class: "toggle" }, this.all, el("span", {}, "of all readers together, by majority (shows you what others decided)")),
        this.list,
      ),
      el(
        "section",
        {},
        el("h2", {}, "Back into training"),
        el("p", {}, `Decisions become marks of a new version of a cohort${isResult ? ", or a threshold for this laboratory" : ""}. In the folder that holds ${store.session.name}:`),
        el("pre", {}, commands(store.session)),
      ),
    );
    this._links();
  }

  show() {}

  _links() {
    const whose = this.all.checked ? "?readers=all" : "";
    const link = (address, name, words) => el("li", {}, el("a", { href: own(`${address}${whose}`), download: "" }, name), el("span", { class: "soft" }, ` ${words}`));
    this.list.replaceChildren(
      el(
        "ul",
        { class: "plain" },
        this.store.session.kind === "cohort" ? null : el("li", {}, el("a", { href: own(`/report${whose}`), target: "mitosieve-report" }, "Report"), el("span", { class: "soft" }, " as mitosieve report and audit write it; here each cell leads to its place on the slide")),
        link("/api/files/report.html", "Page to keep", "reviewed beside automatic, with the decided cells"),
        this.isResult ? link("/api/files/summary.csv", "summary.csv", "a row a slide: reviewed counts, and the automatic ones") : null,
        link("/api/files/decisions.csv", "decisions.csv", "a row a decided cell"),
        ...this.store.slides.filter((slide) => !slide.fault).map((slide) => link(`/api/slides/${slide.number}/geojson`, `${slide.name}.geojson`, "for QuPath")),
      ),
    );
  }
}
