// Who has decided, how two readers agree, and the cells on which they do not.

import { cropAddress, json, own } from "./api.js";
import { choice, digits, el, scoreText, whole } from "./dom.js";
import { scaleBar } from "./gallery.js";
import { VERDICT_WORD } from "./words.js";

export class ReadersView {
  constructor(store, page) {
    this.store = store;
    this.page = page;
    this.list = el("div", { class: "wide" });
    this.compare = el("div", { class: "row" });
    this.result = el("div", {});
    this.node = el(
      "div",
      { class: "page" },
      el("section", {}, el("h2", {}, "Readers"), el("p", {}, "Each reader decides blind: this page shows only your own decisions. A second reader opens the same folder with ", el("code", {}, "--reader NAME"), "."), this.list),
      el("section", {}, el("h2", {}, "Compare two readers"), el("p", {}, "Comparing shows what the other reader decided. Do it when both are done: afterwards you are no longer blind. Whoever settles a disagreement decides it again under their own name; a third reader breaks ties."), this.compare),
      this.result,
    );
    store.addEventListener("decisions", () => this._settled());
  }

  async show() {
    try {
      const { readers } = await json(own("/api/readers"));
      this.readers = readers;
    } catch (error) {
      this.page.say(error.message, true);
      return;
    }
    this.list.replaceChildren(
      el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "Reader"), el("th", {}, "Decisions"))), el("tbody", {}, ...this.readers.map((item) => el("tr", {}, el("th", { scope: "row" }, item.reader === this.store.session.reader ? `${item.reader} (you)` : item.reader), el("td", {}, whole(item.decisions)))))),
    );
    const names = this.readers.filter((item) => item.decisions).map((item) => item.reader);
    if (names.length < 2) {
      this.compare.replaceChildren(el("p", { class: "soft" }, "There are not yet decisions of two readers."));
      return;
    }
    const pick = (label, value, name) => choice(label, names.map((item) => [item, item]), value, (chosen) => (this[name] = chosen));
    this.first ??= names[0];
    this.second ??= names[1];
    this.compare.replaceChildren(pick("First", this.first, "first"), pick("Second", this.second, "second"), el("button", { type: "button", class: "main", onclick: () => this.load() }, "Show their agreement"));
  }

  async load() {
    const turn = (this._turn = (this._turn ?? 0) + 1);
    let told;
    try {
      told = await json(own(`/api/agreement?${new URLSearchParams({ first: this.first, second: this.second })}`));
    } catch (error) {
      if (turn === this._turn) this.page.say(error.message, true);
      return;
    }
    if (turn !== this._turn) return; // two others were asked for meanwhile
    this.told = told;
    this._shown();
  }

  _shown() {
    const { told } = this, words = ["figure", "imposter", "unsure"];
    const f1 = told.first_by_second.f1 ?? null;
    const cell = (row, column) => el("td", {}, whole(told.counts[row][column]));
    this.result.replaceChildren(
      el(
        "section",
        {},
        el("h2", {}, "Agreement"),
        el("div", { class: "wide" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, `${told.first} ↓ · ${told.second} →`), ...words.map((word) => el("th", {}, VERDICT_WORD[word])))), el("tbody", {}, ...words.map((row) => el("tr", {}, el("th", { scope: "row" }, VERDICT_WORD[row]), ...words.map((column) => cell(row, column))))))),
        el(
          "dl",
          { class: "facts left" },
          ...pair("Judged by both", whole(told.both)),
          ...pair(`Only by ${told.first}`, whole(told.only_first)),
          ...pair(`Only by ${told.second}`, whole(told.only_second)),
          ...pair("Cohen's kappa", told.kappa === null ? "not defined" : digits(told.kappa, 3), "figure against no figure, where both are sure"),
          ...pair("F1", digits(f1, 3), "the same both ways"),
          ...pair(`${told.second} finds of ${told.first}'s figures`, digits(told.first_by_second.recall, 3)),
          ...pair(`${told.first} finds of ${told.second}'s figures`, digits(told.second_by_first.recall, 3)),
        ),
      ),
      el("section", {}, el("h2", {}, `Disagreements: ${whole(told.number)}`), told.number ? el("div", { class: "cards loose" }, ...told.disagreements.map((item) => this._card(item))) : el("p", {}, "None.")),
    );
    this._settled();
  }

  _card(item) {
    const image = el("img", { src: cropAddress(item.slide, item.x, item.y, 64, 256), alt: `Cell at ${Math.round(item.x)}, ${Math.round(item.y)} px`, width: "192", height: "192" });
    const silent = [this.told.first, this.told.second].filter((reader) => !item.votes.some((vote) => vote.reader === reader));
    const said = [...item.votes.map((vote) => [vote.reader, VERDICT_WORD[vote.verdict]]), ...silent.map((reader) => [reader, "passed over"])];
    const button = (verdict) => el("button", { type: "button", class: `verdict ${verdict}`, disabled: this.store.session.readOnly, onclick: () => this._settle(item, verdict) }, VERDICT_WORD[verdict]);
    return el(
      "figure",
      { class: "card", dataset: { key: item.key } },
      el("div", { class: "shot" }, image, scaleBar(64)),
      el("figcaption", {}, ...said.map(([reader, word]) => el("span", { class: "line" }, el("span", { class: "name" }, reader), el("b", {}, word))), el("span", { class: "line soft" }, el("span", { class: "name" }, this.store.slides[item.slide].name), item.score === null ? "" : scoreText(item.score)), el("span", { class: "state soft" }), el("div", { class: "row" }, button("figure"), button("imposter"), el("button", { type: "button", onclick: () => this.page.go("slide", { slide: item.slide, place: [item.x, item.y], select: item.row }) }, "place"))),
    );
  }

  // One verdict on a cell after another: what the second is about may be what the first added.
  _settle(item, verdict) {
    item.settling = (item.settling ?? Promise.resolve()).then(() => this._decide(item, verdict));
  }

  async _decide(item, verdict) {
    // a reader's own vote is replaced, not joined by a second: it may be about a cell that this reader added there
    const added = item.own && !(item.own === item.key && item.row !== null);
    const about = added ? { key: item.own } : item.row !== null ? { row: item.row } : null;
    const asked = about ? { kind: "verdict", ...about } : { kind: "added", x: item.x, y: item.y };
    const [made] = await this.store.decide([{ ...asked, slide: item.slide, verdict, how: "gallery" }]);
    if (!made) return;
    item.own = made.key;
    this._settled();
  }

  _settled() {
    for (const card of this.result.querySelectorAll(".card")) {
      const item = this.told.disagreements.find(({ key }) => key === card.dataset.key);
      const mine = this.store.standing(item.own ?? item.key);
      card.querySelector(".state").textContent = mine ? `you: ${VERDICT_WORD[mine.verdict]}` : "";
    }
  }
}

function pair(name, value, words = "") {
  return [el("dt", {}, name), el("dd", {}, el("b", {}, value), words ? el("span", { class: "soft" }, ` ${words}`) : null)];
}
