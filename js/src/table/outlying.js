// Rows so far out that they would carry the frame: they are found, and left out. See table/outlying.py of the Python
// package, which this repeats: concentration steps, then the last gap in the ranks of the distances.

import { evenlySpaced } from "../landmarks.js";
import { eigen, product } from "../linear.js";
import { argsort, cumulative, greatest, kthSmallest, least, placeOf, squaresOf, sum, taken, takenRows } from "../order.js";
import { scatterOf, standardised } from "../standardised.js";

const CENTRAL = 0.75; // share of the weight that the central part holds
const STEPS = 4; // concentration steps
const USED = 4096; // rows, or 16 D of them
export const FAR = 1e3; // times the radius of the central part
const GAP = 10; // times the distance of the nearest row that stays
const MOST = 0.05; // greatest share of the weight that is left out
const LEAST_SQUARE = 0.9 * (1 / MOST - 1); // least first d^2 of the farthest row, if rows are far out
const FLAT = 1e-10; // least variance along a direction, in standardised columns, that tells a scale
const SPIKE = 0.3; // spreads of the central part along a direction
const CLIP = 1e140; // standardised values beyond this are as far out
const TIE = 1e-9; // smaller relative differences are rounding errors

/** Which rows (n), 0 or 1, of points (n, D) lie so far out that they would carry the frame. */
export function outlying(points, dim, w, size) {
  const out = new Uint8Array(w.length);
  if (least(w) > MOST) return out;
  const diagonal = size < 4 * dim;
  for (let weight = 0; ; ) {
    const near = Uint32Array.from(out.keys()).filter((i) => !out[i]);
    const found = beyondAGap(takenRows(points, dim, near), dim, taken(w, near), weight, diagonal);
    if (!found.length) return out;
    for (const i of found) out[near[i]] = 1;
    weight = sum(w.filter((_, i) => out[i]));
  }
}

/** The rows to leave out, beside others of a weight that are left out already. */
function beyondAGap(points, dim, w, weight, diagonal) {
  let d = distances(whitened(points, dim, points, w, diagonal));
  if (greatest(d) ** 2 < LEAST_SQUARE) return [];
  let some = points;
  let ofSome = w;
  const used = Math.max(USED, 16 * dim);
  if (w.length > used) {
    const total = sum(w);
    const picked = evenlySpaced(d, w.map((value) => value / total), used);
    [some, ofSome, d] = [takenRows(points, dim, picked), new Float64Array(used).fill(1 / used), taken(d, picked)];
  }
  let central = within(d, ofSome);
  for (let step = 1; step < STEPS; step++) {
    const core = takenRows(some, dim, central);
    d = distances(whitened(some, dim, core, taken(ofSome, central), diagonal));
    central = within(d, ofSome);
  }
  const core = takenRows(some, dim, central);
  const ofCore = taken(ofSome, central);
  const { u, width } = whitened(points, dim, core, ofCore, diagonal);
  d = distances({ u, width });
  const edge = FAR * radiusOf(d, w);
  let far = Array.from(d.keys()).filter((i) => d[i] > edge && d[i] > 0);
  if (!far.length) return [];
  const inner = whitened(core, dim, core, ofCore, diagonal).u;
  far = far.filter((i) => hasKnownScale(u.subarray(i * width, (i + 1) * width), d[i], inner, width, ofCore));
  far.sort((i, j) => d[i] - d[j] || i - j);
  const isFar = new Set(far);
  let before = 0;
  for (let i = 0; i < d.length; i++) if (!isFar.has(i) && d[i] > before) before = d[i];
  let held = weight + sum(taken(w, far)); // from each row on
  let first = -1;
  far.forEach((i, place) => {
    if (d[i] >= GAP * (place ? d[far[place - 1]] : before) && held <= MOST * (1 + TIE)) first = place;
    held -= w[i];
  });
  return first < 0 ? [] : far.slice(first);
}

/** Whether no half of the points (n, width) is within SPIKE spreads along a direction of some length. */
function hasKnownScale(direction, length, points, width, w) {
  const along = new Float64Array(w.length);
  let square = 0;
  for (let i = 0; i < w.length; i++) {
    let entry = 0;
    for (let j = 0; j < width; j++) entry += (points[i * width + j] * direction[j]) / length;
    along[i] = Math.abs(entry);
    square += w[i] * entry * entry;
  }
  const total = sum(w);
  const bound = SPIKE * Math.sqrt(square / total);
  return sum(w.filter((_, i) => along[i] < bound)) < 0.5 * total;
}

/** The distance within which CENTRAL of the weight lies. */
function radiusOf(d, w) {
  if (w.every((value) => value === w[0])) {
    return kthSmallest(Float64Array.from(d), Math.ceil(CENTRAL * w.length) - 1);
  }
  const order = argsort(d);
  const held = cumulative(taken(w, order));
  return d[order[placeOf(held, CENTRAL * held.at(-1))]];
}

function within(d, w) {
  const radius = radiusOf(d, w);
  return Uint32Array.from(d.keys()).filter((i) => d[i] <= radius);
}

/** Points in coordinates, `width` of them, in which rows of weights w have mean 0 and covariance 1. */
function whitened(points, dim, rows, weights, diagonal) {
  const total = sum(weights);
  const w = weights.map((value) => value / total);
  const { center, spread, u: ofRows } = standardised(rows, dim, w);
  const known = Array.from(spread.keys()).filter((j) => spread[j] > 8 * Number.EPSILON * Math.abs(center[j]));
  const width = known.length;
  const n = points.length / dim;
  const u = new Float64Array(n * width);
  for (let i = 0; i < n; i++) {
    known.forEach((j, to) => {
      const value = (points[i * dim + j] - center[j]) / spread[j];
      u[i * width + to] = Math.max(-CLIP, Math.min(CLIP, value));
    });
  }
  if (diagonal || !width) return { u, width };
  const kept = Float64Array.from({ length: w.length * width }, (_, i) => {
    return ofRows[Math.floor(i / width) * dim + known[i % width]];
  });
  const { values, vectors } = eigen(scatterOf(kept, width, w), width);
  const wide = Array.from(values.keys()).filter((j) => values[j] > FLAT);
  const map = Float64Array.from({ length: width * wide.length }, (_, i) => {
    const j = wide[i % wide.length];
    return vectors[Math.floor(i / wide.length) * width + j] / Math.sqrt(values[j]);
  });
  return { u: product(u, map, width), width: wide.length };
}

const distances = ({ u, width }) => squaresOf(u, width).map(Math.sqrt);
