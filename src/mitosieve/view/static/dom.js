// Elements from words. Text is always text: nothing here reads HTML.

export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (name in node && name !== "list" && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export function choice(label, options, value, onchange, more = {}) {
  const select = el("select", { onchange: () => onchange(select.value), ...more });
  for (const [key, text] of options) select.append(el("option", { value: key }, text));
  select.value = String(value);
  return el("label", { class: "field" }, el("span", {}, label), select);
}

export function toggle(label, value, onchange, key = "") {
  const box = el("input", { type: "checkbox", checked: value, onchange: () => onchange(box.checked), "aria-keyshortcuts": key || null });
  return el("label", { class: "toggle" }, box, el("span", {}, label), key ? el("kbd", {}, key) : null);
}

// Whether a box holds a score; what is none is told, but nothing of an empty one.
export function isShare(box, page) {
  const value = box.valueAsNumber;
  if (value >= 0 && value <= 1) return true;
  if (box.value !== "" || box.validity.badInput) page.say(`a score is from 0 to 1${box.value && `, not ${box.value}`}`, true);
  return false;
}

export const digits = (value, places) => (value === null || value === undefined || Number.isNaN(value) ? "–" : value.toFixed(places));

// A score near 1 needs more digits than its neighbours, or it would say 1.00 of what is not.
export function scoreText(value) {
  if (value === null || Number.isNaN(value)) return "–";
  return value > 0.995 || value < 0.005 ? value.toFixed(4) : value.toFixed(3);
}

export function length(um) {
  if (um >= 1000) return `${Number((um / 1000).toPrecision(3))} mm`;
  return `${Number(um.toPrecision(3))} µm`;
}

// A name and a value of a list of facts.
export function fact(name, value, words = "", title = "") {
  return [el("dt", {}, name), el("dd", { title }, value, words ? el("span", { class: "soft" }, ` ${words}`) : null)];
}

// A dash where there is no number: null.
export function whole(number) {
  return number === null ? "–" : number.toLocaleString("en-GB").replace(/,/g, " ");
}

// A drawing of lines on 16 x 16.
export function icon(lines) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of [["viewBox", "0 0 16 16"], ["width", "16"], ["height", "16"], ["aria-hidden", "true"]]) svg.setAttribute(name, value);
  for (const [name, value] of [["d", lines], ["fill", "none"], ["stroke", "currentColor"], ["stroke-width", "1.6"], ["stroke-linecap", "round"], ["stroke-linejoin", "round"]]) path.setAttribute(name, value);
  svg.append(path);
  return svg;
}
