// What the server is asked. Everything by numbers of slides and rows.

// `refused`: asked again it would be refused again.
export class Refused extends Error {
  constructor(why, refused = false) {
    super(why);
    this.refused = refused;
  }
}

async function answer(response) {
  if (response.ok) return response;
  let why = `the server answered ${response.status}`, refused = false;
  try {
    const told = await response.json();
    why = told.error ?? why;
    refused = told.refused ?? false;
  } catch {
    // no words: the number has to do
  }
  throw new Refused(why, refused);
}

async function reached(address, options) {
  try {
    return await answer(await fetch(address, options));
  } catch (error) {
    if (error instanceof Refused || error.name === "AbortError") throw error;
    throw new Refused("the server does not answer: is the command still running?");
  }
}

export async function json(address, options) {
  return (await reached(address, options)).json();
}

export async function bytes(address) {
  return (await reached(address)).arrayBuffer();
}

export async function send(address, content) {
  return json(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(content) });
}

// What the server shows now: the browser keeps pictures, and numbers name other slides another time.
let edition = "";
export const setEdition = (word) => (edition = word);

export const tileAddress = (slide, level, column, row) => `/api/slides/${slide}/tiles/${level}/${column}/${row}?of=${edition}`;

export const cropAddress = (slide, x, y, um, px) => `/api/slides/${slide}/crop?x=${x.toFixed(3)}&y=${y.toFixed(3)}&um=${um}&px=${px}&of=${edition}`;

// Who reads here. What hangs on that is asked for with it, so that a page that was left open is refused what the next reader
// decided; a page that is still the same reader's goes on.
let identity = "";
export const setIdentity = (word) => (identity = encodeURIComponent(word));

export const own = (address) => `${address}${address.includes("?") ? "&" : "?"}identity=${identity}`;

// Where a slide has tissue: shares of the cells of a lattice from its corner; null where nobody knows.
export async function tissueOf(slide) {
  const { ground } = await json(`/api/slides/${slide}/tissue`);
  if (!ground) return null;
  const packed = Uint8Array.from(atob(ground.packed), (sign) => sign.charCodeAt(0)), [rows, columns] = ground.shape;
  const counts = new Uint8Array(await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
  return { cell_um: 1000 * ground.cell_mm, rows, columns, share: Float32Array.from(counts, (count) => count / ground.most) };
}

// Cells of a slide, see ARRAYS in wire.py.
export async function cellsOf(slide) {
  const buffer = await bytes(`/api/slides/${slide}/cells`);
  const n = new DataView(buffer).getUint32(0, true);
  return {
    n,
    score: new Float64Array(buffer, 8, n),
    x: new Float32Array(buffer, 8 + 8 * n, n),
    y: new Float32Array(buffer, 8 + 12 * n, n),
    suspicion: new Float32Array(buffer, 8 + 16 * n, n),
    call: new Uint8Array(buffer, 8 + 20 * n, n),
  };
}
