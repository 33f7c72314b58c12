// What the page says more than once, and what it explains.

import { digits } from "./dom.js";

export const VERDICT_WORD = { figure: "figure", imposter: "no figure", unsure: "unsure" };
export const CALL_WORD = { candidate: "below the threshold", figure: "figure", imposter: "imposter", background: "background" };

export const SCORE_WORDS =
  "A score is what the detector's last network says of a cell, from 0 to 1. It is no probability: which score is a figure is set by the threshold, " +
  "and the threshold fits slides like those of the training. Look before you count. Research use only, not for diagnosis.";

// Where, then for each line what is shown, what it does, and the names of its keys.
const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
export const KEYS = [
  [
    "Everywhere",
    [
      ["1 … 5", "slide, gallery, count, readers, files", ["1", "2", "3", "4", "5"]],
      ["a", "figure", ["a"]],
      ["r", "no figure (imposter)", ["r"]],
      ["u", "unsure", ["u"]],
      ["z", "undo", ["z"]],
      ["n p", "next, previous cell", ["n", "p"]],
      ["?", "these words", ["?"]],
    ],
  ],
  [
    "Slide and Count",
    [
      ["arrows", "move (with shift: far)", MOVES],
      ["+ - 0", "zoom in, out, whole slide", ["+", "=", "-", "0"]],
      ["[ ]", "turn", ["[", "]"]],
      ["f", "full screen", ["f"]],
      ["b", "show what is below the threshold", ["b"]],
      ["i", "add a missed figure: click, or Enter at the cross", ["i", "Enter"]],
      ["Esc", "leave adding", ["Escape"]],
    ],
  ],
  [
    "Slide",
    [
      ["h", "heat map", ["h"]],
      ["t", "two slides side by side", ["t"]],
    ],
  ],
  [
    "Gallery",
    [
      ["arrows", "choose", MOVES],
      ["Home End", "first, last cell", ["Home", "End"]],
      ["Page Down, Page Up", "next, previous page", ["PageDown", "PageUp"]],
      ["Space", "enlarge", [" "]],
      ["Enter", "its place on the slide", ["Enter"]],
      ["A R", "figure, no figure: the whole row (what is undecided of it)", ["A", "R"]],
      ["s", "crops of the next size", ["s"]],
      ["4 5 6 with Alt", "crops of 32, 64, 128 µm", ["Alt+4", "Alt+5", "Alt+6"]],
    ],
  ],
  [
    "Count",
    [
      ["Enter", "this field is looked through: next field", ["Enter"]],
      ["Backspace", "field before", ["Backspace"]],
      ["d", "next decision that can change the score", ["d"]],
    ],
  ],
];

// What was taken back, and where: it may lie on another slide than the one on the screen.
export function undoneWords({ slides }, { kind, slide, x, y, verdict }) {
  const place = Number.isFinite(x) && Number.isFinite(y) ? `, x ${Math.round(x)}, y ${Math.round(y)} px` : "";
  const where = `${slides[slide]?.name ?? "a slide that is not here"}${place}`;
  if (kind === "looked") return `undone: a field looked through, of ${where}`;
  return kind === "added" ? `undone: an added ${VERDICT_WORD[verdict]}, ${where}` : `undone: ${VERDICT_WORD[verdict]}, ${where}`;
}

// Of what area a hotspot's figures are, and how much of it is tissue.
export function heldWords(spot) {
  const area = `in ${digits(spot.area_mm2, 2)} mm²`;
  return spot.tissue_mm2 === null || spot.tissue_mm2 === undefined ? area : `${area}, ${digits(spot.tissue_mm2, 2)} of them tissue`;
}
