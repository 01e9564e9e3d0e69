// Orders, ranks and sums of numbers.

/** The numbers 0 to n - 1. */
export function range(n) {
  const found = new Uint32Array(n);
  for (let i = 0; i < n; i++) found[i] = i;
  return found;
}

/** The indices that sort the values; equal ones keep their order. */
export const argsort = (values) => range(values.length).sort((i, j) => values[i] - values[j] || i - j);

export const taken = (values, index) => Float64Array.from(index, (i) => values[i]);

/** Rows (n, dim) by index. */
export function takenRows(points, dim, index) {
  const found = new Float64Array(index.length * dim);
  for (let i = 0; i < index.length; i++) {
    for (let j = 0; j < dim; j++) found[i * dim + j] = points[index[i] * dim + j];
  }
  return found;
}

/** The column j of points (n, dim). */
export function column(points, dim, j) {
  const found = new Float64Array(points.length / dim);
  for (let i = 0; i < found.length; i++) found[i] = points[i * dim + j];
  return found;
}

export function cumulative(values) {
  const found = new Float64Array(values.length);
  let sum = 0;
  for (let i = 0; i < values.length; i++) found[i] = sum += values[i];
  return found;
}

/** The number of ascending values below a bound: the first place that holds it or more. */
export function placeOf(ascending, bound) {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (ascending[middle] < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function sum(values) {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i];
  return total;
}

export function greatest(values) {
  let found = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] > found) found = values[i];
  return found;
}

export function least(values) {
  let found = Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] < found) found = values[i];
  return found;
}

/** The squared lengths (n) of points (n, dim). */
export function squaresOf(points, dim) {
  const found = new Float64Array(points.length / dim);
  for (let i = 0; i < found.length; i++) {
    let square = 0;
    for (let j = i * dim; j < (i + 1) * dim; j++) square += points[j] * points[j];
    found[i] = square;
  }
  return found;
}

/** Kish's effective size of weights of sum 1. */
export function kish(weights) {
  let squares = 0;
  for (let i = 0; i < weights.length; i++) squares += weights[i] * weights[i];
  return 1 / squares;
}

/** The value that is k-th in ascending order, from 0. The values are moved about (Hoare's quickselect). */
export function kthSmallest(values, k) {
  let low = 0;
  let high = values.length - 1;
  while (low < high) {
    const [last, first] = parted(values, null, low, high);
    if (k <= last) high = last;
    else if (k >= first) low = first;
    else break;
  }
  return values[k];
}

/** The smallest value up to which the values hold a weight. Values and weights are moved about. */
export function weightedRank(values, weights, wanted) {
  let low = 0;
  let high = values.length - 1;
  let held = 0; // by the values before `low`
  while (low < high) {
    const [last, first] = parted(values, weights, low, high);
    let below = held;
    for (let i = low; i <= last; i++) below += weights[i];
    if (below >= wanted) high = last;
    else {
      for (let i = last + 1; i < first; i++) below += weights[i];
      if (below >= wanted) return values[last + 1];
      [held, low] = [below, first];
    }
  }
  return values[Math.min(low, values.length - 1)];
}

/**
 * Parts the values from `low` to `high` by a pivot. Returns the last place of those that are no greater, and the first
 * of those that are no less; those between equal it. Weights, if any, are moved alike.
 */
function parted(values, weights, low, high) {
  const [a, b, c] = [values[low], values[(low + high) >> 1], values[high]];
  const pivot = a < b ? (b < c ? b : a < c ? c : a) : a < c ? a : b < c ? c : b;
  let i = low;
  let j = high;
  while (i <= j) {
    while (values[i] < pivot) i++;
    while (values[j] > pivot) j--;
    if (i > j) break;
    swap(values, i, j);
    if (weights) swap(weights, i, j);
    i++;
    j--;
  }
  return [j, i];
}

function swap(values, i, j) {
  const held = values[i];
  values[i] = values[j];
  values[j] = held;
}

/** The nearest whole number; of two, the even one. */
export function even(x) {
  const near = Math.round(x);
  return Math.abs(near - x) === 0.5 && near % 2 !== 0 ? near - 1 : near;
}

export function median(values) {
  const sorted = Float64Array.from(values).sort();
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}
