// Linear algebra, order statistics, draws and the text of numbers, over sizes and seeds.

import assert from "node:assert/strict";
import test from "node:test";

import * as linear from "../../js/src/linear.js";
import { Mixture, logGamma } from "../../js/src/mixture.js";
import { argsort, even, kthSmallest, median, placeOf, weightedRank } from "../../js/src/order.js";
import { Random } from "../../js/src/random.js";
import { exponential, general } from "../../js/src/text.js";
import { normal } from "./setup.mjs";

const DIMS = [1, 2, 3, 7, 40];

/** A covariance (dim, dim), well conditioned. */
function covariance(dim, seed) {
  const { data } = normal(3 * dim, dim, seed);
  const found = linear.product(linear.transposed(data, dim), data, 3 * dim);
  return found.map((value) => value / (3 * dim));
}

function assertNear(got, wanted, tolerance) {
  assert.equal(got.length, wanted.length);
  got.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= tolerance, `${i}: ${value}, not ${wanted[i]}`));
}

test("roots, inverses, solutions and eigenvectors give the matrix back", () => {
  for (const dim of DIMS) {
    const a = covariance(dim, dim);
    const root = linear.cholesky(a, dim);
    assertNear(linear.product(root, linear.transposed(root, dim), dim), a, 1e-12);
    assertNear(linear.product(root, linear.inverseRoot(root, dim), dim), linear.identity(dim), 1e-10);
    const white = linear.inverseFactor(a, dim);
    const whitened = linear.product(linear.transposed(white, dim), linear.product(a, white, dim), dim);
    assertNear(whitened, linear.identity(dim), 1e-10);
    const general = normal(dim, dim, 5 + dim).data;
    const right = normal(dim, 3, 6).data;
    assertNear(linear.product(general, linear.solved(general, right, dim), dim), right, 1e-9);
    const { values, vectors } = linear.eigen(a, dim);
    assert.ok(values.every((value, i) => i === 0 || value >= values[i - 1]));
    const scaled = vectors.map((value, i) => value * values[i % dim]);
    assertNear(linear.product(scaled, linear.transposed(vectors, dim), dim), a, 1e-12);
    assertNear(linear.product(linear.transposed(vectors, dim), vectors, dim), linear.identity(dim), 1e-12);
  }
});

test("what is no covariance has no root", () => {
  assert.equal(linear.cholesky([1, 2, 2, 1], 2), null);
  assert.equal(linear.cholesky([NaN], 1), null);
  assert.throws(() => linear.inverseFactor([0], 1), RangeError);
});

test("order statistics are those of sorted values, with ties", () => {
  const random = new Random(1);
  for (let n = 1; n < 60; n++) {
    const values = Float64Array.from({ length: n }, () => Math.floor(random.uniform() * (n % 7 ? 1e6 : 4)));
    const sorted = Float64Array.from(values).sort();
    for (const k of [0, n >> 1, n - 1]) assert.equal(kthSmallest(Float64Array.from(values), k), sorted[k]);
    const weights = Float64Array.from(values, () => random.uniform());
    const order = argsort(values);
    for (const share of [0, 0.3, 0.99, 2]) {
      let [held, place] = [weights[order[0]], 0];
      const wanted = share * weights.reduce((a, b) => a + b);
      while (held < wanted && place < n - 1) held += weights[order[++place]];
      assert.equal(weightedRank(Float64Array.from(values), Float64Array.from(weights), wanted), values[order[place]]);
    }
    assert.deepEqual(Float64Array.from(argsort(values), (i) => values[i]), sorted);
    assert.equal(median(values), (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2);
    assert.equal(placeOf(sorted, sorted[n >> 1]), sorted.indexOf(sorted[n >> 1]));
  }
  assert.deepEqual([-1.5, -0.5, 0.5, 1.5, 2.5, 2.4].map(even), [-2, -0, 0, 2, 2, 2]);
});

test("log-gamma is that of the recurrence", () => {
  assert.ok(Math.abs(logGamma(0.5) - Math.log(Math.PI) / 2) < 1e-12);
  for (const x of [0.1, 1, 3.3, 80, 1e5]) {
    assert.ok(Math.abs(logGamma(x + 1) - logGamma(x) - Math.log(x)) < 1e-11 * (1 + logGamma(x + 1)), `${x}`);
  }
});

/** A mixture of Student-t distributions in `dim` dimensions. */
function mixture(dim, count, seed) {
  const scales = new Float64Array(count * dim * dim);
  for (let k = 0; k < count; k++) scales.set(covariance(dim, seed + k), k * dim * dim);
  const random = new Random(seed);
  const weights = Array.from({ length: count }, () => random.uniform());
  const total = weights.reduce((a, b) => a + b);
  return new Mixture(
    {
      logWeights: weights.map((w) => Math.log(w / total)),
      means: normal(count, dim, seed).data.map((value) => 3 * value),
      scales,
      freedom: weights.map((w) => 3 + 5 * w),
    },
    dim,
  );
}

test("the density of a mixture integrates to 1, and its score is the slope", () => {
  const line = mixture(1, 4, 3);
  const grid = Float64Array.from({ length: 400001 }, (_, i) => (i - 200000) / 100);
  const logDensity = new Float64Array(grid.length);
  line.answer(grid, logDensity, null);
  assert.ok(Math.abs(logDensity.reduce((sum, value) => sum + Math.exp(value) / 100, 0) - 1) < 1e-6);
  for (const dim of DIMS) {
    const of = mixture(dim, 5, dim);
    const at = normal(1, dim, 8).data;
    const score = new Float64Array(dim);
    of.answer(at, null, score);
    for (let j = 0; j < dim; j++) {
      const [low, high] = [-1e-5, 1e-5].map((step) => {
        const found = new Float64Array(1);
        of.answer(at.map((value, i) => value + (i === j ? step : 0)), found, null);
        return found[0];
      });
      assert.ok(Math.abs((high - low) / 2e-5 - score[j]) < 1e-6 * (1 + Math.abs(score[j])));
    }
  }
});

test("draws have the moments of the mixture, and follow from the seed", () => {
  for (const dim of [1, 2, 5]) {
    const of = new Mixture(
      { logWeights: [0], means: new Float64Array(dim), scales: covariance(dim, 4), freedom: [12] },
      dim,
    );
    const n = 40000;
    const drawn = of.draw(n, new Random(7));
    assert.deepEqual(drawn.subarray(0, 10), of.draw(n, new Random(7)).subarray(0, 10));
    assert.notDeepEqual(drawn.subarray(0, 10), of.draw(10, new Random(8)).subarray(0, 10));
    const moments = linear.product(linear.transposed(drawn, dim), drawn, n).map((value) => value / n);
    const wanted = covariance(dim, 4).map((value) => value * 1.2); // 12 / (12 - 2)
    assertNear(moments, wanted, 0.06);
  }
});

test("numbers are written as in Python", () => {
  const written = [
    [general(0.1 + 0.2), "0.3"],
    [general(1e12), "1e+12"],
    [general(1234567), "1.23457e+06"],
    [general(0.00001234), "1.234e-05"],
    [general(1000), "1000"],
    [general(99999.95, 4), "1e+05"],
    [general(-0.5, 3), "-0.5"],
    [general(1e-300), "1e-300"],
    [exponential(0, 1), "0.0e+00"],
    [exponential(-7.84e-16, 1), "-7.8e-16"],
    [exponential(12345, 1), "1.2e+04"],
  ];
  for (const [got, wanted] of written) assert.equal(got, wanted);
});
