// Texts of the page whose contrast with what lies below them is less than 4.5 (WCAG 2.2, 1.4.3; relative luminance as
// defined there), with that contrast. Controls that are off, and texts over pictures, are not looked at.
() => {
  const number = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * (top[3] ?? 1) + below[i] * (1 - (top[3] ?? 1)));
  const ground = (node) => {
    const chain = [];
    for (let n = node; n; n = n.parentElement) chain.push(number(getComputedStyle(n).backgroundColor));
    return chain.reverse().reduce((below, top) => over(top, below), [255, 255, 255]);
  };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const words = walk.currentNode.data.trim(), node = walk.currentNode.parentElement;
    const box = node.getBoundingClientRect(), style = getComputedStyle(node);
    const passed = node.closest("option, noscript, script, .mini-bar, :disabled");
    if (!words || !box.width || passed || style.visibility === "hidden") continue;
    const below = ground(node), one = light(over(number(style.color), below)), two = light(below);
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) bad.push(`${words.slice(0, 30)} ${ratio.toFixed(2)}`);
  }
  return bad;
};
