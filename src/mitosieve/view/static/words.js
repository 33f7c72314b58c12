// What the page says more than once, and what it explains.

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
