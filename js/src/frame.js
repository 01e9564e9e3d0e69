// The frame: affine coordinates of a sample, in which all data sets look alike to the network. See base/frame.py of
// the Python package, which this repeats step by step, in float64.
//
//   z = (x - m) A        log f(x) = log f_z(z) + log |det A|        s(x) = s_z(z) A^T        (rows)

import { eigen, identity, inverseFactor, logDiagonal, product, solved, transposed } from "./linear.js";
import { argsort, kish } from "./order.js";
import { Neighbourhoods, SHARE_ROUNDING, shrinkageOf, shrunk, start } from "./scatter.js";
import { checked } from "./standardised.js";

const WHITENED_ROUNDS = 5; // rounds of local scatter from the whitened data
const STANDARDISED_ROUNDS = 2; // and from the standardised data
const TWO_STARTS_ABOVE = 40; // dimension above which both are tried
const MARGIN = 0.5; // nats of log-volume by which neighbourhoods of the standardised data must be smaller
const LEAST_MEDIAN = 1e-12; // least median of |z|^2, relative to the mean; below it, the mean is used

export class Frame {
  /** The fields of `Frame` of the Python package. */
  constructor(fields) {
    Object.assign(this, { logShare: 0, ...fields });
    this.dim = this.center.length;
  }

  /** Points (n, D) in the frame. */
  toFrame(points) {
    const away = new Float64Array(points.length);
    for (let i = 0; i < points.length; i++) away[i] = points[i] - this.center[i % this.dim];
    return this.turned(away);
  }

  /** Differences (n, D) of points in the frame, from those in data units. */
  turned(differences) {
    return product(differences, this.linear, this.dim);
  }

  /** Points (n, D) in data units, from points in the frame. */
  toData(points) {
    const dim = this.dim;
    return product(points, solved(this.linear, identity(dim), dim), dim).map((value, i) => value + this.center[i % dim]);
  }
}

/** Finds the frame of points (n, D), weights (n) of sum 1, with an effective size, by default Kish's. */
export function fitFrame(points, dim, w, effectiveSize, columns) {
  const size = effectiveSize ?? kish(w);
  const short = w.length <= dim && size < 4 * dim; // too few to say which columns are collinear: they are shrunk
  const { center, spread, u, correlation } = checked(points, dim, w, columns, short);
  const shrinkage = shrinkageOf(size, dim);
  const { linear, covariance, whitened } = bestDraft(u, dim, w, size, shrunk(correlation, shrinkage, dim));
  const z = product(u, linear, dim);
  const scale = unitScale(z, dim, w);
  const moments = eigen(covariance.map((value) => -value * scale * scale), dim); // negative: the widest axis first
  const axes = principalAxes(z, dim, w, moments.vectors);
  const scaled = linear.map((value, i) => (scale * value) / spread[Math.floor(i / dim)]);
  let logAbsDet = logDiagonal(linear, dim) + dim * Math.log(scale); // the map is triangular
  for (const value of spread) logAbsDet -= Math.log(value);
  const root = new Float64Array(dim * dim);
  let logDetPrecision = 0;
  moments.values.forEach((value, i) => {
    root[i * (dim + 1)] = 1 / Math.sqrt(-value);
    logDetPrecision -= Math.log(-value);
  });
  return new Frame({
    center,
    linear: product(scaled, axes, dim),
    logAbsDet,
    precisionRoot: root,
    logDetPrecision,
    effectiveSize: size,
    initialisation: whitened ? "whitened" : "standardised",
    shrinkage,
  });
}

/** The linear map before scaling, the covariance after it, and whether it started from the whitened data. */
function bestDraft(u, dim, w, size, correlation) {
  const short = shrinkageOf(size, dim) > 0;
  if (dim === 1) return { ...start(correlation, dim), whitened: !short }; // scatters have trace D, so they are 1
  const whitener = inverseFactor(correlation, dim);
  const sample = new Neighbourhoods(u, dim, w, size, product(u, whitener, dim));
  const standard = start(correlation, dim);
  // Of a long sample the rounds use landmarks, whose size can be below 4 D only if that of the sample is.
  if (sample.shrinkage > 0) return { ...sample.tighten(standard, STANDARDISED_ROUNDS), whitened: false };
  const found = sample.tighten({ linear: whitener, covariance: identity(dim) }, WHITENED_ROUNDS);
  if (dim <= TWO_STARTS_ABOVE) return { ...found, whitened: true };
  const other = sample.tighten(standard, STANDARDISED_ROUNDS);
  const better = sample.logVolume(other) < sample.logVolume(found) - MARGIN;
  return { ...(better ? other : found), whitened: !better };
}

/** The factor that makes the weighted median of |z|^2 / D equal to 1. */
function unitScale(z, dim, w) {
  const squares = Float64Array.from(w, (_, i) => {
    let square = 0;
    for (let j = i * dim; j < (i + 1) * dim; j++) square += z[j] * z[j];
    return square / dim;
  });
  const order = argsort(squares);
  let mean = 0;
  for (let i = 0; i < w.length; i++) mean += w[i] * squares[i];
  let held = 0;
  let median = squares[order.at(-1)];
  for (const i of order) {
    held += w[i];
    if (held < 0.5 - SHARE_ROUNDING) continue;
    median = squares[i];
    break;
  }
  return 1 / Math.sqrt(median > LEAST_MEDIAN * mean ? median : mean);
}

/** Principal axes (D, D), in columns, each turned to the longer tail. */
function principalAxes(z, dim, w, vectors) {
  const axes = Float64Array.from(vectors);
  const u = product(z, axes, dim);
  for (let j = 0; j < dim; j++) {
    let third = 0;
    for (let i = 0; i < w.length; i++) third += w[i] * u[i * dim + j] ** 3;
    if (third < 0) for (let i = 0; i < dim; i++) axes[i * dim + j] *= -1;
  }
  return axes;
}

/** Scores (n, D) in 1 / data units, from those in the frame. */
export const scoreToData = (frame, score) => product(score, transposed(frame.linear, frame.dim), frame.dim);
