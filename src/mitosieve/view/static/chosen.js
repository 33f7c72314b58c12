// The chosen cell beside the slide: what is known of it, and what this reader says.

import { json } from "./api.js";
import { verdictButtons } from "./buttons.js";
import { el, fact, scoreText } from "./dom.js";
import { CALL_WORD, VERDICT_WORD } from "./words.js";

export class ChosenCell {
  constructor(store, decide) {
    this.store = store;
    this.facts = el("dl", { class: "facts", "aria-live": "polite" });
    // the buttons stay while facts change: who presses one by the keyboard keeps the focus
    this.node = el("section", { class: "chosen", hidden: true }, el("h2", {}, "Chosen cell"), this.facts, el("div", { class: "row" }, ...verdictButtons(store.session.readOnly, decide)));
  }

  // `slideName`: of the second slide, where two are shown.
  show(view, slideName = null) {
    const what = view.selected, { store } = this;
    const isAny = Boolean(view.placeOf(what));
    if (!isAny && this.node.contains(document.activeElement)) view.node.focus({ preventScroll: true });
    this.node.hidden = !isAny;
    if (!isAny) return this.facts.replaceChildren();
    const isAdded = typeof what !== "number", { cells } = view;
    const verdict = isAdded ? cells.added.find((d) => d.key === what)?.verdict : ["", "figure", "imposter", "unsure"][cells.verdict[what]];
    const score = isAdded ? NaN : cells.score[what], suspicion = isAdded ? NaN : cells.suspicion[what];
    this.facts.replaceChildren(
      ...(slideName === null ? [] : fact("Slide", slideName)),
      ...fact("Called", isAdded ? "added by hand" : this._called(cells, what)),
      ...(Number.isNaN(score) ? [] : fact(store.hasThreshold ? "Score" : "Experts' share", scoreText(score))),
      ...(Number.isNaN(suspicion) ? [] : fact("Suspicion", scoreText(suspicion))),
      ...fact("You decided", VERDICT_WORD[verdict] ?? "nothing yet"),
    );
    if (!isAdded && store.hasThreshold) this._stages(view, what);
  }

  // As the slider has it: where it was moved, that is said, for the gallery goes by the detector's own threshold.
  _called(cells, row) {
    const { store } = this;
    if (!store.hasThreshold) return CALL_WORD[store.session.calls[cells.call[row]]];
    const word = row < store.above(cells) ? "figure" : "below the threshold";
    return store.threshold === store.session.threshold ? word : `${word} (at ${store.threshold.toFixed(4)})`;
  }

  async _stages(view, row) {
    const number = view.slide, turn = (this._turn = (this._turn ?? 0) + 1);
    const [cell] = await json(`/api/cells?slide=${number}&local=${row}`).catch(() => [null]);
    if (!cell || turn !== this._turn || this.node.hidden || view.selected !== row || view.slide !== number) return;
    for (const [name, value] of Object.entries(cell.stages)) this.facts.append(...fact(`${name} stage`, value === null ? "not seen" : scoreText(value)));
  }
}
