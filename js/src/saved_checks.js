// What a saved estimate may hold: names, types, shapes and ranges. The file may come from anyone.

import { OUTPUTS } from "./reading.js";

const COUNTS = ["n", "dim", "rank", "landmarks", "copies"];
const SHARES = ["shrinkage", "left_out", "copied", "tied"];
const TEXTS = ["initialisation", "device", "effort", "codes"];
const INITIALISATIONS = ["whitened", "standardised"];
const FRAME = { center: "D", linear: "DD", log_abs_det: "", precision_root: "DD", log_det_precision: "" };
Object.assign(FRAME, { effective_size: "", shrinkage: "", log_share: "" });
const ENCODED = { context: "1ND", log_weights: "1N" };
for (const [i, name] of OUTPUTS.entries()) ENCODED[name] = ["1P", "1PD", "1PDD", "1P"][i];
const CONTEXT = { points: "RD", weights: "R" };
const RANGES = {
  // of arrays, by the end of their names; all others are finite
  log_weights: [-Infinity, 1e-3],
  log_share: [-Infinity, 0],
  weights: [0, 1],
  freedom: [1e-6, Infinity],
  effective_size: [0.99, Infinity],
  shrinkage: [0, 1],
};

/** Checks the entry `about`, which is JSON. */
export function checkAbout(about) {
  const { diagnostics: d, columns } = about;
  for (const name of ["model", "version", "sha256"]) check(typeof about[name] === "string", name);
  check(Number.isSafeInteger(about.most_landmarks) && about.most_landmarks >= 1, "most_landmarks");
  check(typeof about.landmarks_are_sample === "boolean", "landmarks_are_sample");
  for (const name of COUNTS) check(Number.isSafeInteger(d[name]) && d[name] >= 1, name);
  for (const name of SHARES) check(d[name] >= 0 && d[name] <= 1, name);
  for (const name of TEXTS) check(typeof d[name] === "string", name);
  check(d.effort === "fast", "effort");
  check(d.effective_size >= 0.99 && d.effective_size < Infinity, "effective_size");
  check(INITIALISATIONS.includes(d.initialisation), "initialisation");
  check(Array.isArray(d.warnings) && d.warnings.every((text) => typeof text === "string"), "warnings");
  const isOfColumns = (list) => Array.isArray(list) && [0, d.dim].includes(list.length);
  for (const name of ["steps", "atom_widths"]) check(isOfColumns(d[name]) && d[name].every(Number.isFinite), name);
  const isAtom = (atom) => Array.isArray(atom) && atom.length === 2 && atom.every(Number.isFinite);
  check(isOfColumns(d.atoms) && d.atoms.every((atoms) => Array.isArray(atoms) && atoms.every(isAtom)), "atoms");
  const isColumn = (j) => Number.isSafeInteger(j) && j >= 0 && j < d.dim;
  check(Array.isArray(d.few_valued) && d.few_valued.every(isColumn), "few_valued");
  const areNames = (list) => Array.isArray(list) && list.length === d.dim && list.every((name) => typeof name === "string");
  check(columns === null || areNames(columns), "columns");
}

/** Checks the arrays, given the entry `about`. */
export function checkArrays(entries, { diagnostics }) {
  const sizes = { 1: 1, D: diagnostics.dim, N: diagnostics.landmarks };
  check(INITIALISATIONS.includes(entries["frame.initialisation"]), "frame.initialisation");
  const known = new Set(["frame.initialisation"]);
  const checkGroup = (prefix, shapes, of) => {
    for (const [name, letters] of Object.entries(shapes)) {
      known.add(`${prefix}.${name}`);
      checkArray(`${prefix}.${name}`, entries[`${prefix}.${name}`], letters, of);
    }
  };
  checkGroup("frame", FRAME, sizes);
  checkGroup("encoded", ENCODED, sizes);
  const has = (prefix) => Object.keys(entries).some((name) => name.startsWith(`${prefix}.`));
  if (has("data")) checkGroup("data", CONTEXT, { D: sizes.D, R: diagnostics.n });
  if (has("spread")) checkGroup("spread", CONTEXT, { D: sizes.D });
  const unknown = Object.keys(entries).filter((name) => !known.has(name));
  check(!unknown.length, unknown.join(", ").slice(0, 200), "arrays of unknown names");
}

function checkArray(name, entry, letters, sizes) {
  check(entry?.data, name, "arrays missing or unknown");
  const { data, shape } = entry;
  const fits =
    shape.length === letters.length && [...letters].every((letter, i) => (sizes[letter] ??= shape[i]) === shape[i]);
  check(fits, `${name} of shape (${shape.join(", ")})`);
  check(name.startsWith("encoded.") || data instanceof Float64Array, `${name} is no float64`);
  const end = Object.keys(RANGES).find((suffix) => name.endsWith(suffix));
  const [low, high] = end ? RANGES[end] : [-Infinity, Infinity];
  const inRange = data.every((value) => Number.isFinite(value) && value >= low && value <= high);
  check(inRange, name, "values that are not finite, or out of range");
}

function check(condition, what, problem = "not what an estimate has") {
  if (!condition) throw new RangeError(`${problem}: ${what}`);
}
