// Keys and the controls that do the same: a key is told in KEYS (words.js), pressed by a table, and named on its control.

import { el } from "./dom.js";
import { VERDICT_WORD } from "./words.js";

export const VERDICT_OF = { a: "figure", r: "imposter", u: "unsure" };

// Names of keys as aria-keyshortcuts has them.
export const shortcut = (...keys) => keys.map((key) => ({ " ": "Space", "+": "Plus" })[key] ?? (/^[A-Z]$/.test(key) ? `Shift+${key}` : key)).join(" ");

// A button with the key that does it too; `shown` where the key has a longer name.
export function keyed(key, label, work, { shown = key, ...more } = {}) {
  return el("button", { type: "button", "aria-keyshortcuts": shortcut(key), onclick: work, ...more }, `${label} `, el("kbd", {}, shown));
}

export function verdictButtons(readOnly, decide) {
  return Object.entries(VERDICT_OF).map(([key, verdict]) => keyed(key, VERDICT_WORD[verdict], () => decide(verdict), { class: `verdict ${verdict}`, disabled: readOnly }));
}

// Does what a table says of a key; whether it says anything. A capital is one by Shift alone: Caps Lock means nothing.
export function pressed(event, table) {
  const key = /^\p{Lu}$/u.test(event.key) && !event.shiftKey ? event.key.toLowerCase() : event.key;
  const work = (event.altKey && table[`Alt+${key}`]) || table[key];
  if (!work) return false;
  work(event);
  return true;
}
