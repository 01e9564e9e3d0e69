// Duplicates: rows that repeat others. If the values were not rounded, they are copies, and tell nothing new. See
// table/duplicates.py of the Python package, which this repeats.

import { even, kish, least, median } from "../order.js";

const MANY = 0.05; // share of the rows from which on duplicates matter
const EVEN = 0.7; // least effective size of copies, as a share of the different rows
const SHARED = 0.1; // greatest share of different rows that share their value in a column that was not rounded
const FEWEST = 5; // different values that can tell a lattice
const OFF = 0.01; // steps of a lattice are multiples of the least one, up to this
const REGULAR = 0.1; // median log-ratio of steps side by side, below which values are a function of whole numbers
const DIGITS = 5; // rounded values have so many significant digits, or fewer
const FLOAT32 = 1e-7; // relative rounding error of float32

/**
 * The rows that repeat another among sorted points (n, D) of weights (n), and the effective size of the different rows
 * if they are copies, else null; null for all if there are few.
 */
export function findDuplicates(points, dim, w) {
  const rows = [];
  const first = [];
  for (let i = 0; i < w.length; i++) (i > 0 && repeats(points, dim, i) ? rows : first).push(i);
  if (rows.length < Math.max(1, MANY * w.length)) return null;
  const weights = new Float64Array(first.length);
  for (let i = 0, place = -1; i < w.length; i++) {
    if (i === first[place + 1]) place++;
    weights[place] += w[i];
  }
  const size = kish(weights);
  let copies = false;
  if (size >= EVEN * first.length) {
    for (let j = 0; j < dim && !copies; j++) copies = isUnrounded(Float64Array.from(first, (i) => points[i * dim + j]));
  }
  return { rows, size: copies ? size : null };
}

function repeats(points, dim, i) {
  for (let j = 0; j < dim; j++) if (points[i * dim + j] !== points[(i - 1) * dim + j]) return false;
  return true;
}

/** Whether a column of different rows has many values, with many digits and irregular steps. */
function isUnrounded(values) {
  const sorted = values.sort().filter((value, i, all) => i === 0 || value !== all[i - 1]);
  if (sorted.length < Math.max(FEWEST, (1 - SHARED) * values.length)) return false;
  let long = 0;
  for (const value of sorted) {
    const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) + 1 - DIGITS);
    if (Math.abs(value - even(value / unit) * unit) > FLOAT32 * Math.abs(value)) long++;
  }
  const steps = sorted.subarray(1).map((value, i) => value - sorted[i]);
  const smallest = least(steps);
  const lattice = steps.every((step) => Math.abs(step / smallest - even(step / smallest)) < OFF);
  const ratios = Float64Array.from(steps.subarray(1), (step, i) => Math.abs(Math.log(step) - Math.log(steps[i])));
  return long / sorted.length > 0.5 && !lattice && !(median(ratios) < REGULAR);
}

