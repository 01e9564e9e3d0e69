// A mixture of K Student-t distributions in D dimensions, in closed form. Component k has the weight w, the mean m, the
// scale matrix L L^T and nu degrees of freedom. With F = L^-1, u = F (z - m), h = (nu + D) / 2,
//
//   l_k = log w + log Gamma(h) - log Gamma(nu / 2) - D / 2 log(pi nu) + log det F - h log(1 + |u|^2 / nu)
//   log f(z) = log sum_k exp l_k
//   grad log f(z) = -sum_k exp(l_k - log f(z)) 2 h / (nu + |u|^2) F^T u

import { ModelError } from "./errors.js";
import { cholesky, inverseRoot, logDiagonal } from "./linear.js";

const LEAST_LOG_WEIGHT = -1e3; // nats: lower log-weights mark absent components
const DEPTH = 40; // a component this many nats below another is left out: it has less than 1e-17 of its share

export class Mixture {
  /** Log-weights (K), means (K, D), scale matrices (K, D, D) and degrees of freedom (K), each flat. */
  constructor({ logWeights, means, scales, freedom }, dim) {
    const present = [];
    for (let k = 0; k < logWeights.length; k++) if (logWeights[k] > LEAST_LOG_WEIGHT) present.push(k);
    if (!present.length) {
      throw new ModelError(
        "the mixture of the model or of the saved estimate has no component: estimate again with the released model",
      );
    }
    this.dim = dim;
    this.count = present.length;
    this.means = new Float64Array(this.count * dim);
    this.factors = new Float64Array((this.count * dim * (dim + 1)) / 2); // lower triangles F, by rows
    this.logWeights = Float64Array.from(present, (k) => logWeights[k]);
    this.freedom = Float64Array.from(present, (k) => freedom[k]);
    this.logScale = new Float64Array(this.count);
    present.forEach((k, to) => this.#place(to, means.subarray(k * dim), scales.subarray(k * dim * dim)));
  }

  #place(k, mean, scale) {
    const dim = this.dim;
    const root = cholesky(scale, dim);
    if (root === null) {
      throw new ModelError(
        "the mixture of the model or of the saved estimate has a scale that is no covariance: estimate again with " +
          "the released model",
      );
    }
    const factor = inverseRoot(root, dim);
    for (let i = 0, at = (k * dim * (dim + 1)) / 2; i < dim; i++) {
      for (let j = 0; j <= i; j++) this.factors[at++] = factor[i * dim + j];
    }
    this.means.set(mean.subarray(0, dim), k * dim);
    const half = this.freedom[k] / 2;
    const peak = logGamma(half + dim / 2) - logGamma(half) + logDiagonal(factor, dim);
    this.logScale[k] = this.logWeights[k] + peak - (dim / 2) * Math.log(2 * Math.PI * half);
  }

  /**
   * Writes the log-density at points (M, D) of the frame to `logDensity` (M), and the score to `score` (M, D), if
   * these are given, in one pass over the components for each point.
   */
  answer(points, logDensity, score) {
    const dim = this.dim;
    const at = new Float64Array(dim);
    const slope = new Float64Array(dim);
    for (let i = 0, row = 0; row < points.length; i++, row += dim) {
      for (let j = 0; j < dim; j++) at[j] = points[row + j];
      const found = dim === 2 ? this.#atOfPlane(at, slope) : this.#at(at, slope);
      if (logDensity) logDensity[i] = found;
      if (score) for (let j = 0; j < dim; j++) score[row + j] = slope[j];
    }
  }

  #at(z, slope) {
    const { dim, count, means, factors, logScale, freedom } = this;
    const u = this.scratch ??= new Float64Array(dim);
    const triangle = (dim * (dim + 1)) / 2;
    let most = -Infinity; // the greatest l_k so far; the sums below are divided by its exponential
    let total = 0;
    slope.fill(0);
    for (let k = 0; k < count; k++) {
      const mean = k * dim;
      let place = k * triangle;
      let square = 0;
      for (let a = 0; a < dim; a++) {
        let entry = 0;
        for (let b = 0; b <= a; b++) entry += factors[place++] * (z[b] - means[mean + b]);
        u[a] = entry;
        square += entry * entry;
      }
      const power = 0.5 * (freedom[k] + dim);
      const log = logScale[k] - power * Math.log(1 + square / freedom[k]);
      if (log < most - DEPTH) continue;
      if (log > most) {
        const shrink = Math.exp(most - log);
        total *= shrink;
        for (let a = 0; a < dim; a++) slope[a] *= shrink;
        most = log;
      }
      const share = Math.exp(log - most);
      const pull = (2 * power * share) / (freedom[k] + square);
      total += share;
      place = k * triangle;
      for (let a = 0; a < dim; a++) {
        const entry = pull * u[a];
        for (let b = 0; b <= a; b++) slope[b] -= factors[place++] * entry;
      }
    }
    for (let a = 0; a < dim; a++) slope[a] /= total;
    return most + Math.log(total);
  }

  /** The same in two dimensions, written out: it takes half the time. */
  #atOfPlane(z, slope) {
    const { count, means, factors, logScale, freedom } = this;
    const [x, y] = z;
    let most = -Infinity;
    let total = 0;
    let first = 0;
    let second = 0;
    for (let k = 0; k < count; k++) {
      const f = factors[3 * k];
      const g = factors[3 * k + 1];
      const h = factors[3 * k + 2];
      const nu = freedom[k];
      const dx = x - means[2 * k];
      const u = f * dx;
      const v = g * dx + h * (y - means[2 * k + 1]);
      const square = u * u + v * v;
      const log = logScale[k] - (0.5 * nu + 1) * Math.log(1 + square / nu);
      if (log < most - DEPTH) continue;
      if (log > most) {
        const shrink = Math.exp(most - log);
        total *= shrink;
        first *= shrink;
        second *= shrink;
        most = log;
      }
      const share = Math.exp(log - most);
      const pull = ((nu + 2) * share) / (nu + square);
      total += share;
      first -= pull * (f * u + g * v);
      second -= pull * h * v;
    }
    slope[0] = first / total;
    slope[1] = second / total;
    return most + Math.log(total);
  }

  /** Independent draws (n, D) in the frame. */
  draw(n, random) {
    const { dim, factors } = this;
    const triangle = (dim * (dim + 1)) / 2;
    const ends = new Float64Array(this.count);
    let total = 0;
    for (let k = 0; k < this.count; k++) ends[k] = total += Math.exp(this.logWeights[k]);
    const drawn = new Float64Array(n * dim);
    for (let i = 0; i < n; i++) {
      const at = random.uniform() * total;
      const k = Math.min(this.count - 1, ends.findIndex((end) => at <= end));
      const stretch = Math.sqrt(this.freedom[k] / (2 * random.gamma(this.freedom[k] / 2)));
      for (let a = 0, place = k * triangle; a < dim; a++) {
        let entry = stretch * random.normal(); // forward substitution: F x = entry
        for (let b = 0; b < a; b++) entry -= factors[place++] * drawn[i * dim + b];
        drawn[i * dim + a] = entry / factors[place++];
      }
      for (let a = 0; a < dim; a++) drawn[i * dim + a] += this.means[k * dim + a];
    }
    return drawn;
  }
}

/** log Gamma(x) for x > 0, to 1e-12, by recurrence and Stirling's series at x + 8. */
export function logGamma(x) {
  const y = x + 8;
  const pair = x * (x + 7);
  const below = pair * (pair + 6) * (pair + 10) * (pair + 12);
  const inverse = 1 / (y * y);
  const series = (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) / y;
  return (y - 0.5) * Math.log(y) - y + 0.5 * Math.log(2 * Math.PI) + series - Math.log(below);
}
