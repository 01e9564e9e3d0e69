// An estimate: log-density, score and draws of the distribution behind a sample.

import { InputError, ModelError } from "./errors.js";
import { scoreToData } from "./frame.js";
import { checkSignal, readMatrix, wholeNumber } from "./inputs.js";
import { Random } from "./random.js";
import { mixtureOf } from "./reading.js";
import { saveEstimate } from "./saved.js";
import { tuple } from "./text.js";

const FARTHEST = 1e13; // frame coordinates whose squares float32 can hold with ease
const FARTHEST_FLOAT32 = 3.4028234663852886e38;
const CHUNK = 2 ** 16; // pairs of a query and a component, times the columns, between two looks at the clock
const SLICE = 8; // milliseconds after which other tasks of the event loop get their turn

/** Density and score of the distribution behind a sample; made by `Model.estimate` and `Model.loadEstimate`. */
export class Estimate {
  #frame;
  #mixture;
  #held;

  /** `held` has model, frame, diagnostics, columns, arrays, reading and, if known, data and spread; see saved.js. */
  constructor(held) {
    this.#held = held;
    this.#frame = held.frame;
    this.#mixture = mixtureOf(held.arrays, held.frame.dim);
    this.model = held.model;
    this.diagnostics = held.diagnostics;
    this.columns = held.columns;
  }

  /** Number of columns. */
  get dim() {
    return this.#frame.dim;
  }

  /** How the sample was read: "fast". */
  get effort() {
    return this.diagnostics.effort;
  }

  /** Log-density (M) in nats at queries (M, D). */
  async logDensity(Y, options) {
    return (await this.#answer(Y, options, true, false)).logDensity;
  }

  /** Density (M) at queries (M, D). */
  async density(Y, options) {
    return (await this.logDensity(Y, options)).map(Math.exp);
  }

  /** Score { data, shape: [M, D] }, the gradient of the log-density, at queries (M, D). */
  async score(Y, options) {
    return (await this.#answer(Y, options, false, true)).score;
  }

  /** Both: { logDensity, score }. */
  async logDensityAndScore(Y, options) {
    return this.#answer(Y, options, true, true);
  }

  /** Independent draws { data, shape: [n, D] }. The same seed gives the same draws. */
  sample(n, { seed = 0 } = {}) {
    wholeNumber("n", n, 1);
    const random = new Random(wholeNumber("seed", seed, 0));
    return { data: this.#frame.toData(this.#mixture.draw(n, random)), shape: [n, this.dim] };
  }

  /** The bytes of a file, which `loadEstimate` here and in Python reads. `sample` says whether they hold the sample. */
  save({ sample = false } = {}) {
    return saveEstimate(this.#held, sample);
  }

  async #answer(Y, { signal } = {}, wantsDensity, wantsScore) {
    checkSignal(signal);
    const { values, rows, dim, width } = readMatrix("Y", Y, { columns: this.columns });
    if (dim !== this.dim) {
      throw new InputError(`Y must have ${this.dim} columns like the sample X, got shape ${tuple([rows, dim])}`);
    }
    const logDensity = wantsDensity ? new width(rows) : null;
    const score = wantsScore ? new width(rows * dim) : null;
    const chunk = Math.max(1, Math.floor(CHUNK / (this.#mixture.count * dim)));
    let last = performance.now();
    for (let from = 0; from < rows; from += chunk) {
      if (performance.now() - last > SLICE) {
        await turnOfOthers();
        checkSignal(signal);
        last = performance.now();
      }
      const to = Math.min(rows, from + chunk);
      this.#part(values.subarray(from * dim, to * dim), from, logDensity, score);
    }
    return { logDensity, score: score && { data: score, shape: [rows, dim] } };
  }

  #part(points, from, logDensity, score) {
    const { dim } = this;
    const z = this.#reach(points);
    const logs = logDensity && new Float64Array(z.length / dim);
    const slopes = score && new Float64Array(z.length);
    this.#mixture.answer(z, logs, slopes);
    if (!(logs ?? []).every(Number.isFinite) || !(slopes ?? []).every(Number.isFinite)) {
      throw new ModelError(
        "the estimate gives values that are not finite: the model or the saved estimate has numbers out of range; " +
          "estimate again with the released model",
      );
    }
    const volume = this.#frame.logAbsDet + this.#frame.logShare;
    logs?.forEach((value, i) => (logDensity[from + i] = value + volume));
    if (!score) return;
    const most = score instanceof Float32Array ? FARTHEST_FLOAT32 : Number.MAX_VALUE;
    scoreToData(this.#frame, slopes).forEach((value, i) => {
      score[from * dim + i] = Math.max(-most, Math.min(most, value));
    });
  }

  /** Points in the frame, and those too far away moved to the farthest ones on their rays. */
  #reach(points) {
    const { dim } = this;
    const { center } = this.#frame;
    const z = this.#frame.toFrame(points);
    for (let row = 0; row < z.length; row += dim) {
      const at = z.subarray(row, row + dim);
      if (at.every((value) => Math.abs(value) < FARTHEST)) continue;
      let size = 0;
      for (let j = 0; j < dim; j++) size = Math.max(size, Math.abs(points[row + j]), Math.abs(center[j]));
      const ray = this.#frame.turned(center.map((value, j) => points[row + j] / size - value / size));
      const most = ray.reduce((found, value) => Math.max(found, Math.abs(value)), 0);
      at.set(ray.map((value) => (value / most) * FARTHEST));
    }
    return z;
  }
}

/** Lets other tasks of the event loop run. Timers would wait 4 ms in a browser; messages do not. */
function turnOfOthers() {
  if (globalThis.setImmediate) return new Promise((resolve) => setImmediate(resolve));
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
