// Rounded values and atoms: what is not continuous in a column. See table/cells.py of the Python package, which this
// repeats. A rounded value stands for a cell, as wide as the step of its column. An atom is a value that many rows have
// in a column that is otherwise continuous or finer.

import { InputError } from "../errors.js";
import { column, cumulative, even, greatest, placeOf, sum } from "../order.js";
import { describeColumn, general, percent, shown } from "../text.js";

const FEWEST = 8; // rows in which anything is found
const REPEATED = 0.1; // least share of rows that repeat a value of a rounded column
const FINEST = 1000; // most steps in the middle half of the rows: a finer step changes nothing
const OFF = 0.01; // a gap is a multiple of the step up to this share of the step
const COARSER = [2, 3, 4, 5, 6, 7, 8, 9, 10]; // factors by which the step of most values may be coarser
const MOSTLY = 0.95; // least share of the rows for that, not counting those of the most frequent value
const EPS = 4 * Number.EPSILON; // relative difference of values that are equal
const DIGITS = 12; // of a step; more are rounding errors
const FLOAT32_BITS = 24; // of a significand
const ATOM_ROWS = 10; // least number of rows at an atom
const ATOM_SHARE = 0.03; // and least share of them
const ATOM_LEAD = 10; // further rows that it needs for each row that repeats a value next to it
const ATOM_REST = 10; // least number of other values
const MOST_ATOMS = 3; // of a column; more are values that were rounded more coarsely than others
const ATOM_WIDTH = 1 / 16; // of the cell of an atom without a step, over the range of the middle half of the others
const COPIES = 4; // most copies of a row
const ENOUGH = 512; // no further copies are made above this number of rows, copies included

/** What is not continuous in D columns: steps, atoms ([value, share] each) and their widths, few-valued columns. */
export const noCells = (dim) => ({
  steps: new Array(dim).fill(0),
  atoms: Array.from({ length: dim }, () => []),
  atomWidths: new Array(dim).fill(0),
  fewValued: [],
  copies: 1,
});

/** Whether all values are read as they are. */
export const isEmpty = ({ steps, atoms }) => !steps.some(Boolean) && atoms.every((found) => !found.length);

/** The share of the weight at atoms that have no cell. */
export const leftOut = ({ atoms, atomWidths }) =>
  atoms.reduce((total, found, j) => total + (atomWidths[j] ? 0 : sum(found.map(([, share]) => share))), 0);

/** The steps that are given, by column: "auto" for none, null for 0 everywhere, or steps by column or its name. */
export function readRounding(rounding, dim, columns) {
  const given = new Map();
  if (rounding === "auto") return given;
  if (rounding === null) {
    for (let j = 0; j < dim; j++) given.set(j, 0);
    return given;
  }
  if (typeof rounding !== "object" || Array.isArray(rounding)) {
    throw new InputError(
      `rounding must be 'auto', null, or an object of columns and their steps, got ${shown(rounding)}: use null to ` +
        "read values as they are",
    );
  }
  for (const [feature, step] of Object.entries(rounding)) {
    if (!(typeof step === "number" && step >= 0 && step < Infinity)) {
      throw new InputError(
        `rounding must give a finite step of 0 or more for each column, got ${shown(step)} for ${feature}: use 0 to ` +
          "read its values as they are",
      );
    }
    const named = columns ? columns.indexOf(feature) : -1;
    const index = named >= 0 ? named : Number(feature);
    if (!(Number.isInteger(index) && index >= 0 && index < dim)) {
      const names = columns ? `, or names among ${columns.join(", ")}` : "";
      throw new InputError(`rounding must be positions from 0 to ${dim - 1}${names}, got '${feature}'`);
    }
    given.set(index, step);
  }
  return given;
}

/** Finds the step and the atoms of each column of points (n, D), of weights (n). */
export function findCells(points, dim, weights, given) {
  const rows = weights.length;
  const cells = noCells(dim);
  if (rows < 2) return cells;
  for (let j = 0; j < dim; j++) {
    cells.steps[j] = given.get(j) ?? 0;
    const values = column(points, dim, j);
    const ordered = Float64Array.from(values).sort();
    const slack = slackOf(ordered);
    const runs = runsOf(ordered, slack);
    if (runs.values.length > 1 && runs.values.length ** 2 < rows) cells.fewValued.push(j);
    const repeated = 1 - runs.values.length / rows;
    if (repeated < ATOM_SHARE || rows < FEWEST || given.get(j) === 0) continue;
    const { atoms, step, width } = ofColumn(runs);
    cells.atoms[j] = atoms.map((value) => [
      value,
      sum(weights.filter((_, i) => Math.abs(values[i] - value) <= slack)),
    ]);
    cells.steps[j] = given.get(j) ?? step;
    cells.atomWidths[j] = atoms.length && dim > 1 ? cells.steps[j] || width : 0;
  }
  if (cells.steps.some(Boolean)) cells.copies = Math.max(1, Math.min(COPIES, Math.floor(ENOUGH / rows)));
  return cells;
}

/** The difference up to which values of a column are equal. */
export const slackOf = (values) => EPS * greatest(values.map(Math.abs));

/** The different values of a sorted column, and how many rows have each. */
function runsOf(ordered, slack) {
  const values = [];
  const counts = [];
  ordered.forEach((value, i) => {
    if (i === 0 || value - ordered[i - 1] > slack) {
      values.push(value);
      counts.push(1);
    } else counts[counts.length - 1]++;
  });
  return { values, counts };
}

/** The atoms of a column, its step or 0, and the width of an atom without a step. */
function ofColumn({ values, counts }) {
  const atom = areAtoms(counts);
  const rest = values.filter((_, i) => !atom[i]);
  const ofRest = counts.filter((_, i) => !atom[i]);
  const repeated = 1 - rest.length / sum(ofRest) >= REPEATED;
  const width = ATOM_WIDTH * (rest[Math.floor((3 * rest.length) / 4)] - rest[Math.floor(rest.length / 4)]);
  return {
    atoms: values.filter((_, i) => atom[i]).map((value) => value + 0), // no -0
    step: repeated && rest.length > 1 ? stepOf(rest, ofRest) : 0,
    width,
  };
}

/** Which values are atoms, from the numbers of rows at sorted values. */
function areAtoms(counts) {
  const total = sum(counts);
  const atoms = counts.map((count, i) => {
    const around = Math.max(...[-2, -1, 1, 2].map((shift) => counts[i + shift] ?? 0));
    return count >= Math.max(ATOM_ROWS + ATOM_LEAD * (around - 1), ATOM_SHARE * total);
  });
  const found = atoms.filter(Boolean).length;
  return found <= Math.min(MOST_ATOMS, counts.length - ATOM_REST) ? atoms : atoms.map(() => false);
}

/** The step of sorted values that stand in `counts` rows each; 0 if they are not rounded. */
function stepOf(values, counts) {
  let step = commonStep(values);
  if (!step) return 0;
  const total = sum(counts);
  const most = greatest(counts);
  const origin = values[counts.indexOf(most)];
  const needed = most + MOSTLY * (total - most);
  let places = values.map((value) => even((value - origin) / step));
  for (;;) {
    const fits = COARSER.filter((factor) => sum(counts.filter((_, i) => places[i] % factor === 0)) >= needed);
    if (!fits.length) break;
    const factor = fits.at(-1);
    step *= factor;
    places = places.map((place) => place / factor);
  }
  const held = cumulative(counts);
  const [low, high] = [0.25, 0.75].map((share) => values[placeOf(held, share * total)]);
  const unit = 2 ** (exponentOf(greatest(values.map(Math.abs))) - FLOAT32_BITS); // precision of float32
  const ofFloat32 = step <= 2 * unit && values.every((value) => value % (unit / 4) === 0);
  return ofFloat32 || high - low > FINEST * step ? 0 : Number(step.toPrecision(DIGITS));
}

/** The e with 2^(e - 1) <= x < 2^e. */
function exponentOf(x) {
  let exponent = Math.floor(Math.log2(x)) + 1;
  while (2 ** exponent <= x) exponent++;
  while (2 ** (exponent - 1) > x) exponent--;
  return exponent;
}

/** The greatest step of which the gaps of sorted values are multiples, or 0: Euclid's algorithm, with all gaps. */
function commonStep(values) {
  const gaps = values.slice(1).map((value, i) => value - values[i]);
  const least = (EPS * greatest(values.map(Math.abs))) / OFF;
  let step = gaps.reduce((a, b) => Math.min(a, b));
  while (step > least) {
    let nearGaps = 0;
    let nearMultiples = 0;
    for (const gap of gaps) {
      const multiple = even(gap / step);
      if (multiple > 1 / OFF || Math.abs(gap - step * multiple) > OFF * step) continue;
      nearGaps += gap;
      nearMultiples += multiple;
    }
    if (nearMultiples) step = nearGaps / nearMultiples;
    const multiples = gaps.map((gap) => even(gap / step));
    const left = gaps.map((gap, i) => Math.abs(gap - step * multiples[i]));
    const bound = OFF * step;
    if (left.every((value) => value <= bound)) return sum(gaps) / sum(multiples);
    step = left.reduce((a, b) => (b > bound ? Math.min(a, b) : a), Infinity);
  }
  return 0;
}

/** One sentence for each reason why values are not what a density is about. */
export function doubtsAboutCells({ steps, atoms, atomWidths, fewValued }, columns) {
  const doubts = atoms.flatMap((found, j) =>
    found.map(
      ([value, share]) =>
        `${percent(share)} of X has the value ${general(value)} in ${describeColumn(j, columns)}, which is an atom: ` +
        (atomWidths[j]
          ? `these rows are spread over a cell of width ${general(atomWidths[j], 3)}, on which the density there depends.`
          : "it has a probability and no density. The density is that of the other rows."),
    ),
  );
  const name = (j) => describeColumn(j, columns);
  const rounded = fewValued.filter((j) => steps[j]).map((j) => `${name(j)} with step ${general(steps[j])}`);
  const others = fewValued.filter((j) => !steps[j]).map(name);
  if (rounded.length) {
    doubts.push(
      `X takes few values in ${rounded.join(", ")}: they are read as rounded, and spread evenly over cells as wide as ` +
        "the step. If they are categories, estimate separately for each of them.",
    );
  }
  if (others.length) {
    doubts.push(
      `X takes few values in ${others.join(", ")}: such data have no density, and answers depend on rounding. ` +
        "Leave these columns out, or estimate separately for each of their values.",
    );
  }
  return doubts;
}
