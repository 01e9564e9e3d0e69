// A sample, read and brought to its frame: rows far out are left out, rounded values are spread within their cells.
// What is read, and in which order, is as in fit.py of the Python package.

import { InputError } from "./errors.js";
import { fitFrame } from "./frame.js";
import { takeLandmarks } from "./landmarks.js";
import { argsort, kish, squaresOf, taken, takenRows } from "./order.js";
import { areDependent, checkWeights, orderOfPresent } from "./standardised.js";
import { doubtsAboutCells, findCells, isEmpty, leftOut, readRounding } from "./table/cells.js";
import { clean } from "./table/contamination.js";
import { spread } from "./table/spread.js";
import { describeColumn, general, shown } from "./text.js";

const MOST_POINTS = 16384; // of a sample that the mixture is fitted to: memory grows with them

/**
 * Reads a sample. `X` is a matrix that has been read, `weights` (rows) or null, `rounding` as given.
 *
 * Returns { data, read, z, frame, cells, found, columns }: `data` and `read` are points (n, D) and weights (n) of sum 1,
 * before and after rounded values are spread; z (n, D) are those of `read` in the frame.
 */
export function readSample(X, weights, { effectiveSize, rounding, columns, rows }) {
  const { dim } = X;
  const present = orderOfPresent(X.values, dim, weights);
  const numbers = rows ? present.order.map((i) => rows[i]) : present.order;
  const points = takenRows(X.values, dim, present.order);
  const cleaned = clean(points, dim, present.weights, effectiveSize, numbers, columns);
  const data = { points: cleaned.points, weights: cleaned.weights };
  let size = cleaned.effectiveSize;
  checkWeights(data.weights);
  const cells = findCells(data.points, dim, data.weights, readRounding(rounding, dim, columns));
  const read = isEmpty(cells) ? data : spread(data.points, dim, data.weights, cells);
  if (read !== data) {
    const own = kish(read.weights) / cells.copies;
    size = size === null ? own : Math.max(1, (1 - leftOut(cells)) * size);
  }
  const frame = fitFrame(read.points, dim, read.weights, size, columns);
  if (cleaned.found.leftOut) frame.logShare = Math.log1p(-cleaned.found.leftOut);
  return { data, read, z: frame.toFrame(read.points), frame, cells, found: cleaned.found, columns, dim };
}

/** Leaves out rows with missing values, if `missing` is "drop"; returns what `readSample` takes. */
export function completeRows(X, weights, missing, columns, warn) {
  if (missing !== "drop" && missing !== "error") {
    throw new InputError(`missing must be one of 'drop', 'error', got ${shown(missing)}`);
  }
  const { values, rows, dim } = X;
  const isComplete = (i) => !values.subarray(i * dim, (i + 1) * dim).some(Number.isNaN);
  const kept = Uint32Array.from({ length: rows }, (_, i) => i).filter(isComplete);
  if (kept.length === rows) return { X, weights, rows: null };
  if (!kept.length) {
    const missed = new Array(dim).fill(0);
    values.forEach((value, i) => (missed[i % dim] += Number.isNaN(value)));
    const worst = missed.indexOf(Math.max(...missed));
    throw new InputError(
      `X must have complete rows, but all ${rows} have missing values: leave out columns with many of them, such as ` +
        `${describeColumn(worst, columns)} with ${missed[worst]}`,
    );
  }
  warn("DataWarning", `Left out ${rows - kept.length} of ${rows} rows of X, which have missing values.`);
  return {
    X: { ...X, values: takenRows(values, dim, kept), rows: kept.length },
    weights: weights && taken(weights, kept),
    rows: kept,
  };
}

/** The points (n, D) in the frame that the network reads, in the order of their radius, and the count of each. */
export function landmarksOf({ z, dim, read, frame }, most) {
  const order = argsort(squaresOf(z, dim));
  const points = takenRows(z, dim, order);
  const found = takeLandmarks(points, dim, taken(read.weights, order), frame.effectiveSize, most);
  return found.counts.length <= order.length ? found : merged(found, dim);
}

/** The points that the mixture is fitted to, in the frame, and the weight of each. */
export function pointsOf(sample) {
  const { points, counts } = landmarksOf(sample, MOST_POINTS);
  return { points, weights: shares(counts) };
}

export function shares(counts) {
  let total = 0;
  for (const count of counts) total += count;
  return counts.map((count) => count / total);
}

/** Points that were taken more than once, once each. */
function merged({ points, counts }, dim) {
  const { order } = orderOfPresent(points, dim, null);
  const kept = [];
  const sums = [];
  for (const i of order) {
    const last = kept.at(-1);
    const isNew = last === undefined || points.subarray(i * dim, (i + 1) * dim).some((x, j) => x !== points[last * dim + j]);
    if (isNew) {
      kept.push(i);
      sums.push(counts[i]);
    } else sums[sums.length - 1] += counts[i];
  }
  return { points: takenRows(points, dim, kept), counts: Float64Array.from(sums) };
}

/** One sentence for each reason to doubt an estimate, in the order of the Python package. */
export function doubtsOf(sample, metadata, landmarks) {
  const { data, frame, cells, found, columns, dim } = sample;
  const n = data.weights.length;
  const size = frame.effectiveSize;
  const doubts = [...metadata.outOfRange(n, dim)];
  if (size > n * (1 + 1e-9)) {
    doubts.push(
      `effective_size is ${general(size)}, but X has only ${n} rows of positive weight: the estimate will be ` +
        "overconfident.",
    );
  }
  doubts.push(...doubtsAboutRows(sample), ...doubtsAboutColumns(sample));
  if (frame.shrinkage > 0) {
    doubts.push(
      `The effective size ${general(size, 4)} is below 4 x ${dim} columns: correlations are shrunk by ` +
        `${general(frame.shrinkage, 2)}, and the estimate depends on how the columns are chosen.`,
    );
  } else if (frame.initialisation === "standardised") {
    doubts.push(
      "The frame was found from standardised columns, so the estimate depends on how they are chosen.",
    );
  }
  doubts.push(...doubtsAboutCells(cells, columns), ...metadata.doubtsAboutLandmarks(landmarks));
  return doubts;
}

/** One sentence if rows are far out, if rows repeat others, and if values look like codes. */
export const doubtsAboutRows = (sample) => [
  ...sample.found.doubts,
  ...(tiedOf(sample) ? [sample.found.doubtOfTies] : []),
];

/** One sentence if rounded columns are linear combinations of others. */
export const doubtsAboutColumns = ({ cells, data, dim }) =>
  !isEmpty(cells) && areDependent(data.points, dim, data.weights)
    ? [
        "Some rounded columns of X are linear combinations of others, as totals are, but each is spread over its cells " +
          "on its own: leave these columns out.",
      ]
    : [];

/** The share of the rows that repeat others, where neither copies, cells nor few values explain it. */
export const tiedOf = ({ cells, found }) => (isEmpty(cells) && !cells.fewValued.length ? found.tied : 0);
