// What the page says more than once, and what it explains.

export const VERDICT_WORD = { figure: "figure", imposter: "no figure", unsure: "unsure" };
export const CALL_WORD = { candidate: "below the threshold", figure: "figure", imposter: "imposter", background: "background" };

export const SCORE_WORDS =
  "A score is what the detector's last network says of a cell, from 0 to 1. It is no probability: which score is a figure is set by the threshold, " +
  "and the threshold fits slides like those of the training. Look before you count. Research use only, not for diagnosis.";

export const KEYS = [
  ["Everywhere", [["1 … 5", "slide, gallery, count, readers, files"], ["a", "figure"], ["r", "no figure (imposter)"], ["u", "unsure"], ["z", "undo"], ["n p", "next, previous cell"], ["?", "these words"]]],
  ["Slide", [["arrows", "move (with shift: far)"], ["+ - 0", "zoom in, out, whole slide"], ["[ ]", "turn"], ["f", "full screen"], ["h", "heat map"], ["b", "show what is below the threshold"], ["i", "add a missed figure: click, or Enter at the cross"], ["t", "two slides side by side"], ["Esc", "leave adding"]]],
  ["Gallery", [["arrows", "choose"], ["Space", "enlarge"], ["Enter", "its place on the slide"], ["A R", "figure, no figure: the whole row (what is undecided of it)"], ["4 5 6 with Alt", "crops of 32, 64, 128 µm"], ["Page Down, Page Up", "next, previous page"]]],
  ["Count", [["Enter", "this field is looked through: next field"], ["Backspace", "field before"]]],
];
