// Landmarks: a few points that represent many, evenly spaced in the ranks of the radius in the frame.

import { argsort, cumulative, placeOf, squaresOf, taken, takenRows } from "./order.js";

export const ROUNDING = 1e-12; // tolerance of cumulative weights and of sizes

/** The indices of `count` points, evenly spaced in the weighted ranks of the radius (n). */
export function evenlySpaced(radius, weights, count) {
  const order = argsort(radius);
  const mass = cumulative(taken(weights, order));
  const last = order.length - 1;
  return Uint32Array.from(
    { length: count },
    (_, k) => order[Math.min(last, placeOf(mass, (k + 0.5) / count - ROUNDING))],
  );
}

/** Whether there are so many points, of positive weights and an effective size, that few stand for them. */
export const tooMany = (count, size, most) => size > most || count > 4 * most;

/** Landmarks of points (n, dim) of weights (n): the points, and how many each represents; all points if few. */
export function takeLandmarks(points, dim, weights, size, most) {
  if (!tooMany(weights.length, size, most)) return { points, counts: weights.map((w) => w * size) };
  const picked = evenlySpaced(squaresOf(points, dim), weights, most);
  const counts = new Float64Array(most).fill(Math.min(size, most) / most);
  return { points: takenRows(points, dim, picked), counts };
}
