// Rows, spread evenly within the cells of their values, in the places that the Python package gives them. See
// table/cells.py there: x' = x + step ((k + r) / c - 1 / 2), with r the place of a row among those of its cell.

import { argsort, column, range, sum } from "../order.js";
import { slackOf } from "./cells.js";
import { Pcg64 } from "./pcg64.js";

/** Points (m c, D), the copies of a row one after another, and weights of sum 1; rows at atoms without a cell go. */
export function spread(points, dim, weights, cells) {
  const rows = weights.length;
  const widths = Float64Array.from(points, (_, i) => cells.steps[i % dim]);
  const kept = new Uint8Array(rows).fill(1);
  cells.atoms.forEach((atoms, j) => {
    if (!atoms.length) return;
    const values = column(points, dim, j);
    const slack = slackOf(values);
    values.forEach((value, i) => {
      if (!atoms.some(([atom]) => Math.abs(value - atom) <= slack)) return;
      widths[i * dim + j] = cells.atomWidths[j];
      if (!cells.atomWidths[j]) kept[i] = 0;
    });
  });
  const staying = range(rows).filter((i) => kept[i]);
  const total = sum(Float64Array.from(staying, (i) => weights[i]));
  const w = Float64Array.from(staying, (i) => weights[i] / total);
  const x = new Float64Array(staying.length * dim);
  const cell = new Float64Array(x.length);
  staying.forEach((i, to) => {
    x.set(points.subarray(i * dim, (i + 1) * dim), to * dim);
    cell.set(widths.subarray(i * dim, (i + 1) * dim), to * dim);
  });
  const { copies } = cells;
  const wanted = Array.from({ length: dim }, (_, j) => j).filter((j) => column(cell, dim, j).some((width) => width > 0));
  const places = placesOf(x, dim, w, copies, wanted);
  const moved = Float64Array.from({ length: x.length * copies }, (_, i) => {
    const row = Math.floor(i / (copies * dim));
    const entry = row * dim + (i % dim);
    return x[entry] + cell[entry] * places[i];
  });
  return { points: moved, weights: Float64Array.from({ length: w.length * copies }, (_, i) => w[Math.floor(i / copies)] / copies) };
}

/** Places (n, c, D) of the copies of rows in their cells, from -1/2 to 1/2; 0 in columns that are not wanted. */
function placesOf(points, dim, weights, copies, wanted) {
  const rows = weights.length;
  const random = new Pcg64();
  const ranks = ranksOf(points, dim);
  const drawn = Array.from({ length: rows }, () => random.next() >> 1n); // numbers below 2^63
  const codes = BigUint64Array.from(ranks, (rank) => drawn[rank]);
  const ofRows = new BigUint64Array(rows);
  const sums = new BigUint64Array(dim);
  codes.forEach((code, i) => (sums[i % dim] += code));
  codes.forEach((code, i) => (ofRows[Math.floor(i / dim)] += code * sums[i % dim]));
  ofRows.forEach((value, i) => (ofRows[i] = value ^ (value >> 29n)));
  const ofColumns = new BigUint64Array(dim);
  codes.forEach((code, i) => (ofColumns[i % dim] += code * ofRows[Math.floor(i / dim)]));
  const sign = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
  const sorted = range(rows).sort((a, b) => sign(ofRows[a], ofRows[b]) || weights[a] - weights[b] || a - b);
  const places = new Float64Array(rows * copies * dim);
  for (const j of [...wanted].sort((a, b) => sign(ofColumns[a], ofColumns[b]) || a - b)) {
    const keys = Float64Array.from(sorted, (i) => ranks[i * dim + j] + random.uniform());
    const order = argsort(keys).map((k) => sorted[k]);
    const turns = Array.from({ length: rows }, () =>
      argsort(Float64Array.from({ length: copies }, () => random.uniform())),
    );
    const within = placesInCells(Float64Array.from(order, (i) => ranks[i * dim + j]), Float64Array.from(order, (i) => weights[i]));
    order.forEach((i, k) => {
      for (let copy = 0; copy < copies; copy++) {
        places[(i * copies + copy) * dim + j] = (turns[k][copy] + within[k]) / copies - 0.5;
      }
    });
  }
  return places;
}

/** The rank (n, D) of each value among the different values of its column. */
function ranksOf(points, dim) {
  const ranks = new Uint32Array(points.length);
  for (let j = 0; j < dim; j++) {
    const values = column(points, dim, j);
    const slack = slackOf(values);
    const order = argsort(values);
    let rank = 0;
    for (let k = 1; k < order.length; k++) {
      if (values[order[k]] - values[order[k - 1]] > slack) rank++;
      ranks[order[k] * dim + j] = rank;
    }
  }
  return ranks;
}

/** The place of each row among those of its rank, 0 to 1, in the middle of its weight. */
function placesInCells(ranks, weights) {
  const within = new Float64Array(ranks.length);
  for (let first = 0; first < ranks.length; ) {
    let end = first;
    let total = 0;
    while (end < ranks.length && ranks[end] === ranks[first]) total += weights[end++];
    let held = 0;
    for (let i = first; i < end; i++) {
      held += weights[i];
      within[i] = (held - weights[i] / 2) / total;
    }
    first = end;
  }
  return within;
}
