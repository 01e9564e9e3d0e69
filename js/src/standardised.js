// Standardised columns of a sample, and the checks that its rows have a density.
//
// Shapes: n rows, D columns. Points are (n, D), by rows.

import { DegenerateDataError } from "./errors.js";
import { eigen } from "./linear.js";
import { greatest, range, squaresOf, sum } from "./order.js";
import { describeColumn, exponential, general } from "./text.js";

const LEAST_EIGENVALUE = 1e-14; // of a correlation matrix, over D; below it, columns are collinear
const LEAST_SPREAD = 1e-300; // of a column, data units; below it, scores are beyond float64
const LEAST_WEIGHT = 1e-18; // of a row, over the greatest
const HEAVIEST = 1 - 1e-9; // share of the weight of a row; above it, there is no other row, up to rounding
const NAMED = 5; // most values of a row that a message shows

/** The sorted order of the rows of positive weight, and their weights, of sum 1. */
export function orderOfPresent(points, dim, weights) {
  const rows = points.length / dim;
  const given = weights ?? new Float64Array(rows).fill(1);
  const most = greatest(given);
  const order = range(rows).sort((i, j) => {
    for (let k = 0; k < dim; k++) {
      const difference = points[i * dim + k] - points[j * dim + k];
      if (difference) return difference;
    }
    return given[i] - given[j] || i - j;
  });
  const present = order.filter((i) => given[i] > LEAST_WEIGHT * most);
  const relative = Float64Array.from(present, (i) => given[i] / most);
  const total = sum(relative);
  return { order: present, weights: relative.map((w) => w / total) };
}

/** Weighted means (D), standard deviations (D) and standardised points (n, D). */
export function standardised(points, dim, w) {
  const rows = points.length / dim;
  const center = new Float64Array(dim);
  const spread = new Float64Array(dim);
  const u = new Float64Array(points.length);
  for (let j = 0; j < dim; j++) {
    let low = Infinity;
    let high = -Infinity;
    for (let i = j; i < points.length; i += dim) {
      if (points[i] < low) low = points[i];
      if (points[i] > high) high = points[i];
    }
    const anchor = 0.5 * low + 0.5 * high;
    let mean = 0;
    for (let i = 0; i < rows; i++) mean += w[i] * (points[i * dim + j] - anchor);
    center[j] = anchor + mean;
    let reach = 0;
    for (let i = j; i < points.length; i += dim) reach = Math.max(reach, Math.abs(points[i] - center[j]));
    let square = 0;
    for (let i = 0; i < rows; i++) {
      const relative = (points[i * dim + j] - center[j]) / (reach > 0 ? reach : 1);
      square += w[i] * relative * relative;
    }
    spread[j] = reach * Math.sqrt(square);
    for (let i = j; i < points.length; i += dim) u[i] = (points[i] - center[j]) / spread[j];
  }
  return { center, spread, u };
}

/** The weighted scatter (D, D) of points (n, D) around 0. */
export function scatterOf(points, dim, w) {
  const found = new Float64Array(dim * dim);
  for (let i = 0; i < w.length; i++) {
    for (let a = 0; a < dim; a++) {
      const factor = w[i] * points[i * dim + a];
      for (let b = 0; b <= a; b++) found[a * dim + b] += factor * points[i * dim + b];
    }
  }
  for (let a = 0; a < dim; a++) for (let b = 0; b < a; b++) found[b * dim + a] = found[a * dim + b];
  return found;
}

/** Points standardised, and their correlation, once they are checked. */
export function checked(points, dim, w, columns, mayBeSingular) {
  const standard = standardised(points, dim, w);
  checkConstant(points, dim, standard.center, columns);
  checkSpread(standard.spread, columns);
  const correlation = scatterOf(standard.u, dim, w);
  if (!mayBeSingular && isSingular(correlation, dim)) {
    checkLoneRow(points, dim, standard.u);
    throw collinear(correlation, dim, columns);
  }
  return { ...standard, correlation };
}

/** Checks that weights (n) of sum 1 are those of 2 rows or more. */
export function checkWeights(w) {
  if (w.length < 2) {
    throw new DegenerateDataError(
      `X must have 2 rows of positive weight or more, got ${w.length} (weights below ` +
        `${general(LEAST_WEIGHT)} of the greatest count as 0)`,
    );
  }
  const heaviest = greatest(w);
  if (heaviest > HEAVIEST) {
    throw new DegenerateDataError(
      "X must have 2 rows that count or more, but one row has all of the weight, up to " +
        `${exponential(sum(w) - heaviest, 1)} of it: check the weights`,
    );
  }
}

function checkSpread(spread, columns) {
  const small = spread.findIndex((value) => value < LEAST_SPREAD);
  if (small >= 0) {
    throw new DegenerateDataError(
      `X must have a spread of ${general(LEAST_SPREAD)} or more in each column, got ` +
        `${exponential(spread[small], 1)} in ${describeColumn(small, columns)}: multiply it by a large number`,
    );
  }
}

function checkConstant(points, dim, center, columns) {
  const constant = [];
  for (let j = 0; j < dim; j++) {
    let reach = 0;
    let most = 0;
    for (let i = j; i < points.length; i += dim) {
      reach = Math.max(reach, Math.abs(points[i] - center[j]));
      most = Math.max(most, Math.abs(points[i]));
    }
    if (reach <= 8 * Number.EPSILON * most) constant.push(describeColumn(j, columns));
  }
  if (constant.length) {
    throw new DegenerateDataError(
      `X is constant in ${constant.join(", ")}, so it has no density: drop constant columns`,
    );
  }
}

/** Whether columns are linear combinations of others. What few different rows have in common does not count. */
export function areDependent(points, dim, w) {
  const correlation = scatterOf(standardised(points, dim, w).u, dim, w);
  const rank = rankOf(correlation, dim);
  if (rank === dim) return false;
  const rows = new Set(Array.from(w, (_, i) => points.subarray(i * dim, (i + 1) * dim).join()));
  return rank < rows.size - 1;
}

const rankOf = (correlation, dim) =>
  eigen(correlation, dim).values.filter((value) => value >= LEAST_EIGENVALUE * dim).length;

const isSingular = (correlation, dim) => rankOf(correlation, dim) < dim;

/** Checks that points are not singular for one row alone, which lies far out. */
function checkLoneRow(points, dim, u) {
  const squares = squaresOf(u, dim);
  const far = squares.indexOf(greatest(squares));
  const others = u.filter((_, i) => Math.floor(i / dim) !== far);
  const w = new Float64Array(others.length / dim).fill(dim / others.length);
  const rest = standardised(others, dim, w);
  if (rest.spread.every((value) => value > 0) && !isSingular(scatterOf(rest.u, dim, w), dim)) {
    const row = points.subarray(far * dim, far * dim + Math.min(dim, NAMED));
    const values = Array.from(row, (value) => general(value, 4)).join(", ");
    throw new DegenerateDataError(
      `X has no density, up to rounding, because the row (${values}${dim > NAMED ? ", ..." : ""}) lies so far ` +
        "out that all others coincide beside it: correct or remove it",
    );
  }
}

function collinear(correlation, dim, columns) {
  const { values, vectors } = eigen(correlation, dim);
  const share = Array.from({ length: dim }, (_, j) => Math.abs(vectors[j * dim]));
  const most = greatest(share);
  const involved = share.flatMap((value, j) => (value > 0.1 * most ? [describeColumn(j, columns)] : []));
  return new DegenerateDataError(
    `X has no density because some columns are linear combinations of others: ${involved.join(", ")} ` +
      `(smallest eigenvalue of the correlation matrix ${exponential(values[0], 1)}); drop one of them`,
  );
}
