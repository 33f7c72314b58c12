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

// Of the whole slide those that hold tissue; all of them where nobody knows (null).
export function tissueFields(frame, tissue) {
  const [right, bottom] = frame.size_l0.map((size) => size - 0.5), [mx, my] = frame.mpp_xy;
  const every = fieldsOf([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]], frame);
  if (!tissue) return every;
  const { cell_um, rows, columns, share } = tissue;
  return every.filter(({ box: [x0, y0, x1, y1] }) => {
    const [left, top] = [((x0 + 0.5) * mx) / cell_um, ((y0 + 0.5) * my) / cell_um].map(Math.floor);
    const end = [Math.min(columns, Math.ceil(((x1 + 0.5) * mx) / cell_um)), Math.min(rows, Math.ceil(((y1 + 0.5) * my) / cell_um))];
    for (let row = top; row < end[1]; row++) for (let column = left; column < end[0]; column++) if (share[row * columns + column] > 0) return true;
    return false;
  });
}
