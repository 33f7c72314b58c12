// Fields of a hotspot: what is looked through one after another.

const FIELD_UM = 360; // side of a field at most: on a screen of 900 px a px is 0.4 um
const NEAR_PX = 1;

export function same(one, other) {
  return one.length === other.length && one.every(([x, y], i) => Math.abs(x - other[i][0]) < NEAR_PX && Math.abs(y - other[i][1]) < NEAR_PX);
}

export function fieldsOf(outline, frame) {
  const xs = outline.map(([x]) => x), ys = outline.map(([, y]) => y);
  const [x0, x1, y0, y1] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  const [mx, my] = frame.mpp_xy;
  const columns = Math.max(1, Math.ceil(((x1 - x0) * mx) / FIELD_UM)), rows = Math.max(1, Math.ceil(((y1 - y0) * my) / FIELD_UM));
  const wide = (x1 - x0) / columns, tall = (y1 - y0) / rows;
  const round = outline.length > 4, radius = (x1 - x0) / 2, middle = [(x0 + x1) / 2, (y0 + y1) / 2];
  const found = [];
  for (let row = 0; row < rows; row++) {
    for (let step = 0; step < columns; step++) {
      const column = row % 2 ? columns - 1 - step : step;
      const box = [x0 + column * wide, y0 + row * tall, x0 + (column + 1) * wide, y0 + (row + 1) * tall];
      const nearest = [Math.min(box[2], Math.max(box[0], middle[0])), Math.min(box[3], Math.max(box[1], middle[1]))];
      if (round && Math.hypot((nearest[0] - middle[0]) * mx, (nearest[1] - middle[1]) * my) > radius * mx) continue;
      const corners = [[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]].map(([x, y]) => [Math.round(x * 10) / 10, Math.round(y * 10) / 10]);
      found.push({ box, corners, words: `${Math.round(wide * mx)} × ${Math.round(tall * my)} µm` });
    }
  }
  return found;
}
