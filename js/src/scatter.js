// Local scatter: rounds of linear maps that make the neighbourhoods of points round.
//
// In each round, with z the current coordinates, w the weights and n the effective size:
//
//   h_i^2 = smallest squared distance around z_i that holds the weight fraction (max(10, n / 50) + 1) / n
//   p_ij  = w_i w_j max(0, 1 - |z_i - z_j|^2 / h_i^2)                                   i: the centres
//   S     = sum_ij p_ij (z_i - z_j)(z_i - z_j)^T,   normalised to trace D
//   z    <- z L^-T   with   L L^T = S + GUARD tr(C^-1 S) / D C,   C the total covariance
//
// The centres are all points or, of many, some that are evenly spaced in the weighted ranks of the radius.

import { ROUNDING, evenlySpaced, tooMany } from "./landmarks.js";
import { identity, inverseFactor, logDiagonal, product, trace, transposed } from "./linear.js";
import { kthSmallest, range, squaresOf, taken, takenRows, weightedRank } from "./order.js";

export const SHARE_ROUNDING = 1e-6; // of a share of the weight
const GUARD = 3e-3; // share of the total covariance in each local scatter
const COINCIDENT = 1e-14; // relative squared distance below which two points coincide
const EDGE = 1e-9; // smaller pair weights are rounding errors of points at the edge of a neighbourhood
const TINY = 1e-200; // less than every positive squared distance
const LEAST_RADIUS = 1e-12; // least squared radius of a neighbourhood in the log-volume

/** The weight of the identity in a scatter, 0 to 1; it is 0 from an effective size of 4 D. */
export function shrinkageOf(size, dim) {
  const ratio = size / (4 * dim);
  return Math.max(0, 1 - ROUNDING - ratio * ratio) ** 2;
}

/** A matrix (D, D), shrunk toward the identity. */
export function shrunk(matrix, amount, dim) {
  const found = matrix.map((value) => (1 - amount) * value);
  for (let i = 0; i < dim; i++) found[i * (dim + 1)] += amount;
  return found;
}

/** The standardised points that the rounds use, and the centres and the size of their neighbourhoods. */
export class Neighbourhoods {
  /** `u` and `white` (n, D): the points, standardised and whitened; `w` (n) of sum 1. */
  constructor(u, dim, w, size, white) {
    let radius = squaresOf(white, dim);
    const most = Math.max(1024, 16 * dim);
    if (tooMany(w.length, size, most)) {
      const picked = evenlySpaced(radius, w, most);
      [u, radius] = [takenRows(u, dim, picked), taken(radius, picked)];
      [w, size] = [new Float64Array(most).fill(1 / most), Math.min(size, most)];
    }
    const mostCentres = Math.max(256, 8 * dim);
    const few = tooMany(w.length, size, mostCentres);
    this.centres = few ? evenlySpaced(radius, w, mostCentres) : range(w.length);
    this.centreWeights = few ? new Float64Array(mostCentres).fill(1 / mostCentres) : w;
    [this.u, this.dim, this.w] = [u, dim, w];
    this.shrinkage = shrinkageOf(size, dim);
    this.fraction = Math.min(1, (Math.max(10, size / 50) + 1) / size);
    const held = (1 - SHARE_ROUNDING) * this.fraction;
    this.rank = w.every((value) => value === w[0]) ? Math.ceil(held * w.length) - 1 : null;
  }

  /** Runs rounds from a draft: a linear map (D, D) of u, and the covariance (D, D) after it. */
  tighten({ linear, covariance }, rounds) {
    const dim = this.dim;
    for (let round = 0; round < rounds; round++) {
      let scatter = this.#scatter(linear);
      const size = trace(scatter, dim);
      if (!(size > TINY)) break; // only duplicates are near each other, so the coordinates are kept
      scatter = shrunk(scatter.map((value) => (value * dim) / size), this.shrinkage, dim);
      const white = inverseFactor(covariance, dim);
      const overlap = trace(product(transposed(white, dim), product(scatter, white, dim), dim), dim);
      const share = (GUARD * overlap) / dim;
      const step = inverseFactor(scatter.map((value, i) => value + share * covariance[i]), dim);
      linear = product(linear, step, dim);
      covariance = product(transposed(step, dim), product(covariance, step, dim), dim);
    }
    return { linear, covariance };
  }

  /** The mean log-volume of the neighbourhoods in the standardised data, up to a constant, in nats. */
  logVolume({ linear }) {
    const z = product(this.u, linear, this.dim);
    let mean = 0;
    this.#each(z, (centre, weight, distances, radius) => {
      mean += weight * Math.log(Math.max(LEAST_RADIUS, radius));
    });
    return (this.dim * mean) / 2 - logDiagonal(linear, this.dim);
  }

  #scatter(linear) {
    const { dim, w } = this;
    const z = product(this.u, linear, dim);
    const found = new Float64Array(dim * dim);
    const difference = new Float64Array(dim);
    this.#each(z, (i, weight, distances, radius) => {
      const edge = (1 - EDGE) * radius;
      for (let j = 0; j < w.length; j++) {
        const distance = distances[j];
        if (!(distance < edge && distance > 0)) continue;
        const pair = (1 - distance / radius) * weight * w[j];
        for (let a = 0; a < dim; a++) difference[a] = z[i * dim + a] - z[j * dim + a];
        for (let a = 0; a < dim; a++) {
          const factor = pair * difference[a];
          for (let b = 0; b <= a; b++) found[a * dim + b] += factor * difference[b];
        }
      }
    });
    for (let a = 0; a < dim; a++) for (let b = 0; b < a; b++) found[b * dim + a] = found[a * dim + b];
    return found;
  }

  /** Calls a function for each centre: its index, its weight, squared distances (n), the squared radius. */
  #each(z, told) {
    const { dim, centres, centreWeights } = this;
    const squares = squaresOf(z, dim);
    const distances = new Float64Array(squares.length);
    const scratch = new Float64Array(squares.length);
    const weights = new Float64Array(squares.length);
    for (let c = 0; c < centres.length; c++) {
      const i = centres[c];
      for (let j = 0; j < distances.length; j++) {
        let square = 0;
        for (let a = 0; a < dim; a++) {
          const away = z[i * dim + a] - z[j * dim + a];
          square += away * away;
        }
        distances[j] = square <= COINCIDENT * (squares[i] + squares[j]) ? 0 : square;
      }
      told(i, centreWeights[c], distances, Math.max(TINY, this.#radius(distances, scratch, weights)));
    }
  }

  /** The smallest squared distance that holds the weight of a neighbourhood. */
  #radius(distances, scratch, weights) {
    scratch.set(distances);
    if (this.rank !== null) return kthSmallest(scratch, this.rank);
    weights.set(this.w);
    return weightedRank(scratch, weights, (1 - SHARE_ROUNDING) * this.fraction);
  }
}

export const start = (correlation, dim) => ({ linear: identity(dim), covariance: correlation });
