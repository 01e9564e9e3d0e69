// One pass of the network: a sample in its frame goes in, a mixture of Student-t distributions comes out.

import { DegenerateDataError, ModelError } from "./errors.js";
import { Mixture } from "./mixture.js";
import { argsort, squaresOf, takenRows } from "./order.js";
import { landmarksOf, pointsOf, shares } from "./sample.js";
import { general } from "./text.js";

export const OUTPUTS = ["mixture_log_weights", "mixture_means", "mixture_scales", "mixture_freedom"];
const FEWEST_LANDMARKS = 32; // no mixture is read again from fewer
const LEAST_LOG_WEIGHT = -1e3; // nats: lower log-weights mark absent components
const LOWEST = -3.4028234663852886e38; // of float32
const ASKED = 64; // number of landmarks at which a mixture is compared with one Gaussian
const WORST = 2; // nats by which it may be worse
const WORSE = 1; // nats by which a mixture from more landmarks may be worse than one from fewer

/**
 * Reads a sample by at most `most` landmarks. `run` takes the inputs of the graph by name, [Float32Array, shape] each,
 * and gives its outputs by name; the network was trained to read `trained` landmarks.
 *
 * Returns the arrays that a saved estimate holds, the number of landmarks and whether they are the whole sample. A
 * mixture that is no density, or far worse than a simpler one, is wrong: it is read again from half of the landmarks.
 */
export async function readMixture(run, sample, most, trained) {
  const { points, counts } = landmarksOf(sample, most);
  const given = inputsOf(sample, points, counts);
  const outputs = await run(given);
  const half = Math.floor(Math.min(most, counts.length) / 2);
  if (half >= FEWEST_LANDMARKS) {
    const fewer = counts.length > trained ? landmarksOf(sample, trained) : null;
    const other = fewer && (await run(inputsOf(sample, fewer.points, fewer.counts)));
    if (isAstray(outputs, sample, points, counts, other)) return readMixture(run, sample, half, trained);
  }
  if (!isDensity(outputs)) {
    throw new DegenerateDataError(
      `the network finds no density for X, of effective size ${general(sample.frame.effectiveSize, 4)}: check the ` +
        "weights and the landmarks",
    );
  }
  return {
    arrays: { context: given.context[0], log_weights: given.log_weights[0], ...outputs },
    landmarks: counts.length,
    most,
    isComplete: isWhole(sample, points),
  };
}

/** The mixture of the outputs of a graph, or of a saved estimate. */
export function mixtureOf(arrays, dim) {
  const [logWeights, means, scales, freedom] = OUTPUTS.map((name) => Float64Array.from(arrays[name]));
  return new Mixture({ logWeights, means, scales, freedom }, dim);
}

function inputsOf(sample, points, counts) {
  const { frame, dim } = sample;
  const n = counts.length;
  const all = pointsOf(sample);
  const single = (values) => Float32Array.from(values);
  const logs = (weights) => single(weights).map((_, i) => Math.max(LOWEST, Math.log(weights[i])));
  return {
    context: [single(points), [1, n, dim]],
    log_weights: [logs(shares(counts)), [1, n]],
    precision_root: [single(frame.precisionRoot), [1, dim, dim]],
    log_det_precision: [single([frame.logDetPrecision]), [1]],
    effective_size: [single([frame.effectiveSize]), [1]],
    all_points: [single(all.points), [1, all.weights.length, dim]],
    all_log_weights: [logs(all.weights), [1, all.weights.length]],
  };
}

/** Whether landmarks are all points of the sample: then none stands for others, and none was taken twice. */
function isWhole({ z, dim }, points) {
  const all = takenRows(z, dim, argsort(squaresOf(z, dim)));
  return points.length === all.length && points.every((value, i) => value === all[i]);
}

const isPresent = (logWeight) => !(logWeight <= LEAST_LOG_WEIGHT); // NaN counts as present

/** Whether the mixture has a component, and the numbers of all that are present are finite. */
function isDensity(outputs) {
  const logWeights = outputs[OUTPUTS[0]];
  return logWeights.some((value) => value > LEAST_LOG_WEIGHT) && isFiniteWherePresent(outputs);
}

function isFiniteWherePresent(outputs) {
  const logWeights = outputs[OUTPUTS[0]];
  return OUTPUTS.every((name) => {
    const each = outputs[name].length / logWeights.length;
    return outputs[name].every((value, i) => Number.isFinite(value) || !isPresent(logWeights[Math.floor(i / each)]));
  });
}

/** Whether a mixture is no density, or far worse than one Gaussian with its moments, or than another from fewer points. */
function isAstray(outputs, { frame, dim }, points, counts, other) {
  const mean = meanLogDensity(outputs, dim, points, counts);
  const size = Math.max(2, frame.effectiveSize);
  const gaussian = 0.5 * (frame.logDetPrecision - dim * (1 + Math.log(2 * Math.PI)));
  const cost = (((dim * (dim + 3)) / 4) * Math.log(size)) / size; // as in BIC
  const least = gaussian - cost - WORST;
  return mean < (other ? Math.max(least, meanLogDensity(other, dim, points, counts) - WORSE) : least);
}

/** The mean log-density of a mixture at some of the landmarks, in nats; -Infinity if it is no density. */
function meanLogDensity(outputs, dim, points, counts) {
  if (!isFiniteWherePresent(outputs)) return -Infinity;
  let mixture;
  try {
    mixture = mixtureOf(outputs, dim);
  } catch (error) {
    if (error instanceof ModelError) return -Infinity; // a scale is no covariance
    throw error;
  }
  const step = Math.ceil(counts.length / ASKED);
  const logDensity = new Float64Array(1);
  let total = 0;
  let held = 0;
  for (let i = 0; i < counts.length; i += step) {
    mixture.answer(points.subarray(i * dim, (i + 1) * dim), logDensity, null);
    total += counts[i] * logDensity[0];
    held += counts[i];
  }
  return total / held;
}
