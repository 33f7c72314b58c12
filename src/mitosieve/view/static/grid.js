// Points in the cells of a grid, so that few are looked at where few are seen. Within a cell by their number.

const PER_CELL = 8;

export class Grid {
  constructor(x, y) {
    const n = x.length;
    let left = Infinity, top = Infinity, right = -Infinity, bottom = -Infinity;
    for (let i = 0; i < n; i++) {
      if (x[i] < left) left = x[i];
      if (x[i] > right) right = x[i];
      if (y[i] < top) top = y[i];
      if (y[i] > bottom) bottom = y[i];
    }
    this.n = n;
    this.x = x;
    this.y = y;
    this.left = n ? left : 0;
    this.top = n ? top : 0;
    const wide = n ? Math.max(1, right - left) : 1, tall = n ? Math.max(1, bottom - top) : 1;
    this.side = Math.max(1, Math.sqrt((wide * tall * PER_CELL) / Math.max(1, n)));
    this.columns = Math.floor(wide / this.side) + 1;
    this.rows = Math.floor(tall / this.side) + 1;
    this.start = new Uint32Array(this.columns * this.rows + 1);
    this.items = new Uint32Array(n);
    const cell = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cell[i] = Math.floor((y[i] - this.top) / this.side) * this.columns + Math.floor((x[i] - this.left) / this.side);
      this.start[cell[i] + 1]++;
    }
    for (let c = 0; c < this.columns * this.rows; c++) this.start[c + 1] += this.start[c];
    const next = this.start.slice();
    for (let i = 0; i < n; i++) this.items[next[cell[i]]++] = i;
  }

  // Columns and rows that a rectangle meets: [first column, last, first row, last].
  span(x0, y0, x1, y1) {
    const column = (value) => Math.floor((value - this.left) / this.side);
    const row = (value) => Math.floor((value - this.top) / this.side);
    return [Math.max(0, column(x0)), Math.min(this.columns - 1, column(x1)), Math.max(0, row(y0)), Math.min(this.rows - 1, row(y1))];
  }

  // How many points lie in the cells that a rectangle meets: no less than in it.
  most(x0, y0, x1, y1) {
    const [c0, c1, r0, r1] = this.span(x0, y0, x1, y1);
    let total = 0;
    for (let r = r0; r <= r1; r++) if (c1 >= c0) total += this.start[r * this.columns + c1 + 1] - this.start[r * this.columns + c0];
    return total;
  }

  // Numbers of the points in a rectangle, both edges included.
  inside(x0, y0, x1, y1) {
    const [c0, c1, r0, r1] = this.span(x0, y0, x1, y1);
    const found = [];
    for (let r = r0; r <= r1; r++) {
      if (c1 < c0) continue;
      const stop = this.start[r * this.columns + c1 + 1];
      for (let k = this.start[r * this.columns + c0]; k < stop; k++) {
        const i = this.items[k];
        if (this.x[i] >= x0 && this.x[i] <= x1 && this.y[i] >= y0 && this.y[i] <= y1) found.push(i);
      }
    }
    return found;
  }

  // The nearest point within so many um that passes, where a px is [mx, my] um; -1 where there is none.
  nearest(px, py, um, passes, [mx, my]) {
    let best = -1, least = um * um;
    for (const i of this.inside(px - um / mx, py - um / my, px + um / mx, py + um / my)) {
      const d2 = ((this.x[i] - px) * mx) ** 2 + ((this.y[i] - py) * my) ** 2;
      if (d2 <= least && passes(i)) {
        best = i;
        least = d2;
      }
    }
    return best;
  }
}
