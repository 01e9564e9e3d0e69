// The source of the sample: an example, a file, or points drawn by hand.

import { likelyPair, pointsOf } from "./csv.js";
import { example } from "./examples.js";
import { changePoints, setView } from "./flow.js";
import { count } from "./numbers.js";
import { Random } from "./random.js";
import { LEAST, MOST } from "./sample.js";
import { START, element, state } from "./state.js";
import { View } from "./view.js";
import { notify } from "./words.js";

const FIRST_N = 512; // number of points used at first from an example or a file
const SEED = 1; // seed of the random order of the rows of a file

const spray = new Random(1);
let table = null; // the file in use: its name, its columns and their names

/** Replaces the sample by points (2 n) from a source. */
function load(origin, points, names, view) {
  state.origin = origin;
  element("columns").hidden = origin.kind !== "file";
  state.sample.load(points, names, FIRST_N);
  state.points = state.sample.used;
  setView(view);
}

export function showExample(name, seed) {
  notify(null);
  const points = example(name, seed, MOST);
  load({ kind: "example", name, seed }, points, ["x", "y"], View.around(points, true));
}

export function clear() {
  notify(null);
  load({ kind: "hand" }, new Float64Array(), ["x", "y"], START);
}

/** Reads a file, and uses the two columns that are most likely wanted. */
export async function readFile(file) {
  try {
    const read = { ...(await state.engine.csv(file)), file: file.name };
    const pair = likelyPair(read.columns);
    if (!takeColumns(read, pair)) return;
    table = read;
    for (const [k, id] of ["column-x", "column-y"].entries()) {
      element(id).replaceChildren(...table.names.map((name, j) => new Option(name, j, false, j === pair[k])));
    }
  } catch (error) {
    notify(`${file.name} cannot be used. ${error.message}`);
  }
}

/** Uses the two columns chosen by the user. */
export function chooseColumns() {
  takeColumns(
    table,
    ["column-x", "column-y"].map((id) => Number(element(id).value)),
  );
}

/** Uses two columns of a table as the sample; returns whether that is possible. */
function takeColumns({ columns, names, notes, cut, file }, pair) {
  const { points, skipped } = pointsOf(columns, pair);
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
  const drawn = new Random(SEED).shuffle(points).slice(0, 2 * MOST);
  const chosen = pair.map((j) => names[j]);
  load({ kind: "file" }, drawn, chosen, View.around(drawn, false));
  return true;
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
