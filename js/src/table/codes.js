// Values that look like codes for missing values, such as -999 or 1e6: repeated, and far outside the others. See
// table/codes.py of the Python package, which this repeats.

import { column } from "../order.js";

const REPEATED = 3; // least number of rows
const MOST = 0.25; // greatest share of the rows
const CENTRAL = [0.05, 0.95]; // quantiles
const BEYOND = 10; // widths of the central part
const GAP = 0.5; // of the distance from the centre

/** The values of points (n, D) that look like codes: [column, value] each. */
export function codesIn(points, dim) {
  const found = [];
  for (let j = 0; j < dim; j++) {
    for (const value of codesOf(column(points, dim, j).sort())) found.push([j, value]);
  }
  return found;
}

function codesOf(sorted) {
  const rows = sorted.length;
  const values = [];
  const counts = [];
  for (const value of sorted) {
    if (value === values.at(-1)) counts[counts.length - 1]++;
    else {
      values.push(value);
      counts.push(1);
    }
  }
  const last = values.length - 1;
  if (counts[0] < REPEATED && counts[last] < REPEATED) return [];
  const often = counts.map((count) => count >= REPEATED && count <= MOST * rows);
  const low = often[0] ? counts[0] : 0;
  const high = often[last] ? counts[last] : 0;
  const others = sorted.subarray(low, Math.max(low, rows - high));
  if (!others.length) return [];
  const [from, to] = CENTRAL.map((share) => others[Math.max(0, Math.ceil(others.length * share) - 1)]);
  const width = to - from || others.at(-1) - others[0];
  if (!(width > 0)) return [];
  const upper = beyondAGap(values.map((value) => value - to), BEYOND * width);
  const lower = beyondAGap(values.map((value) => from - value).reverse(), BEYOND * width).reverse();
  return values.filter((_, i) => often[i] && (upper[i] || lower[i]));
}

/** Which ascending distances lie at the end of the first gap beyond the least, or farther out. */
function beyondAGap(distances, least) {
  let beyond = false;
  return distances.map((distance, i) => {
    const step = i ? distance - distances[i - 1] : Infinity;
    beyond ||= distance > least && step >= GAP * distance;
    return beyond;
  });
}
