// The source of the sample: an example, a file, or points drawn by hand.

import { likelyPair, pointsOf } from "./csv.js";
import { Random } from "./discoformer/random.js";
import { EXAMPLES, example } from "./examples.js";
import { changePoints, setFragment, setView } from "./flow.js";
import { decodeLink, encodeLink, isLink } from "./link.js";
import { count } from "./numbers.js";
import { LEAST, MOST } from "./sample.js";
import { START, element, state } from "./state.js";
import { View } from "./view.js";
import { notify } from "./words.js";

const FIRST_N = 512; // number of points used at first from an example or a file
const SEED = 1; // seed of the random order of the rows of a file

const spray = new Random(1);
let table = null; // the file in use: its name, its columns and their names
let pair = null; // the two columns of it that are shown

/** Replaces the sample by points (2 n) from a source, and uses n of them. `since` is when they were asked for. */
function load(origin, points, names, view, n = FIRST_N, since = performance.now()) {
  Object.assign(state, { origin, since, took: null });
  setFragment("");
  element("columns").hidden = origin.kind !== "file";
  state.sample.load(points, names, n);
  state.points = state.sample.used;
  setView(view);
}

export function showExample(name, seed) {
  notify(null);
  const since = performance.now();
  const points = example(name, seed, MOST);
  load({ kind: "example", name, seed }, points, ["x", "y"], View.around(points, true), FIRST_N, since);
}

/** Shows what the address of the page asks for: the name of an example, or points. */
export function showFragment() {
  const asked = location.hash.slice(1);
  if (EXAMPLES.includes(asked)) showExample(asked, 1);
  else if (isLink(asked)) showLink(asked);
  else return;
  setFragment(asked);
}

function showLink(fragment) {
  notify(null);
  try {
    const { points, names, view } = decodeLink(fragment);
    load({ kind: "link" }, points, names, new View(view.x0, view.x1, view.y0, view.y1), MOST);
  } catch (error) {
    notify(`This link cannot be opened. ${error.message}`);
  }
}

/** Puts a link to the points into the address of the page and the clipboard; returns whether it is in the latter. */
export async function copyLink() {
  const { points, sample, view } = state;
  setFragment(encodeLink({ points, names: sample.names, view }));
  try {
    await navigator.clipboard.writeText(location.href);
    return true;
  } catch {
    notify("The link is in the address bar of the browser: copy it from there.");
    return false;
  }
}

export function clear() {
  notify(null);
  load({ kind: "hand" }, new Float64Array(), ["x", "y"], START);
}

/** Reads a file, and uses the two columns that are most likely wanted. */
export async function readFile(file) {
  const since = performance.now();
  try {
    const read = { ...(await state.engine.csv(file)), file: file.name };
    const likely = likelyPair(read.columns);
    if (!takeColumns(read, likely, since)) return;
    [table, pair] = [read, likely];
    for (const [k, id] of ["column-x", "column-y"].entries()) {
      element(id).replaceChildren(...table.names.map((name, j) => new Option(name, j, false, j === pair[k])));
    }
  } catch (error) {
    notify(`${file.name} cannot be used. ${error.message}`);
  }
}

/** Uses the two columns chosen by the user. If one is chosen twice, the axes change places. */
export function chooseColumns({ target }) {
  const [x, y] = ["column-x", "column-y"].map(element);
  const other = target === x ? y : x;
  if (x.value === y.value) other.value = pair.find((j) => j !== Number(target.value));
  pair = [x, y].map((select) => Number(select.value));
  takeColumns(table, pair);
}

/** Uses two columns of a table as the sample; returns whether that is possible. */
function takeColumns({ columns, names, notes, cut, file }, [x, y], since) {
  const { points, skipped } = pointsOf(columns, [x, y]);
  const rows = points.length / 2;
  if (rows < LEAST) {
    const found = `${rows} row${rows === 1 ? "" : "s"} with a number in both columns`;
    notify(`${file} has only ${found}: ${LEAST} or more are needed.`);
    return false;
  }
  const said = [...notes];
  if (skipped) {
    const were = skipped === 1 ? "row was" : "rows were";
    said.push(`${count(skipped)} ${were} left out because a cell is not a number.`);
  }
  if (cut) said.push("The file is large: only its first 64 MB were read.");
  if (rows > MOST) {
    said.push(`${count(MOST)} of ${count(rows)} rows were drawn at random: more take too long in a browser.`);
  }
  notify(said.length ? `${file}: ${said.join(" ")}` : null);
  const drawn = shuffled(points, new Random(SEED)).slice(0, 2 * MOST);
  load({ kind: "file" }, drawn, [names[x], names[y]], View.around(drawn, false), FIRST_N, since);
  return true;
}

/** Points (2 n) in random order. */
function shuffled(points, random) {
  const found = points.slice();
  for (let i = found.length / 2 - 1; i > 0; i--) {
    const j = Math.floor(random.uniform() * (i + 1));
    for (const axis of [0, 1]) {
      [found[2 * i + axis], found[2 * j + axis]] = [found[2 * j + axis], found[2 * i + axis]];
    }
  }
  return found;
}

/** Adds a point at unit coordinates; if `sprayed`, at a random place near them, within the brush. */
export function draw(u, v, sprayed) {
  const width = sprayed ? Number(element("brush").value) / 100 : 0;
  const at = [u, v].map((value) => value + width * spray.normal());
  if (!state.sample.add(...state.view.toData(...at))) {
    notify(`The limit of ${count(MOST)} points is reached. Use fewer points, or clear them, to draw more.`);
  }
  changePoints();
}

export function removeLast() {
  state.sample.removeLast();
  changePoints();
}
