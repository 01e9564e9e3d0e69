// A model: the graph of the mixture network, in a session of onnxruntime.

import { Estimate } from "./estimate.js";
import { EffortError, InputError, ModelError } from "./errors.js";
import { sha256 } from "./hash.js";
import { checkSignal, readColumns, readEffectiveSize, readMatrix, readWeights, wholeNumber } from "./inputs.js";
import { Metadata } from "./metadata.js";
import { OUTPUTS, readMixture } from "./reading.js";
import { RELEASED } from "./released.js";
import { openNetwork } from "./runtime.js";
import { completeRows, doubtsAboutColumns, doubtsAboutRows, doubtsOf, readSample, tiedOf } from "./sample.js";
import { readEstimate } from "./saved.js";
import { shown } from "./text.js";

/** A loaded model; made by `load`. */
export class Model {
  #network;
  #warn;
  #last = Promise.resolve(); // the network reads one sample at a time

  /** Opens the model in the bytes of mixture.onnx; options as in `load`. */
  static async open(bytes, { ort, device = "auto", onWarning = toConsole }) {
    const model = new Model();
    model.#warn = (name, message) => onWarning({ name, message });
    model.metadata = new Metadata(bytes);
    model.sha256 = await sha256(bytes);
    const { name, version } = model.metadata;
    const released = RELEASED[`${name} ${version}`];
    if (released && model.sha256 && model.sha256 !== released) {
      throw new ModelError(
        `the model says that it is '${name}' ${version}, but has the SHA-256 ${model.sha256}, needed ${released}: ` +
          "the file is damaged, or of another export; take it from its source again",
      );
    }
    model.#network = await openNetwork(ort, bytes, device, model.#warn);
    return model;
  }

  /** Where the network runs. */
  get device() {
    return this.#network.device;
  }

  /** Reads a sample once, to be queried as often as you want; see index.d.ts for the options. */
  async estimate(X, options = {}) {
    const { effort = "fast", landmarks, signal, missing = "error", rounding = "auto" } = options;
    checkEffort(effort);
    checkSignal(signal);
    const matrix = readMatrix("X", X, { missing: missing === "drop", columns: namesOf(options.columns) });
    const columns = readColumns(options.columns, matrix.dim);
    const given = options.weights ?? null;
    const weights = given && readWeights(given, matrix.rows);
    const complete = completeRows(matrix, weights, missing, columns, this.#warn);
    const sample = readSample(complete.X, complete.weights, {
      effectiveSize: readEffectiveSize(options.effectiveSize),
      rounding,
      columns,
      rows: complete.rows,
    });
    for (const doubt of doubtsAboutColumns(sample)) this.#warn("DataWarning", doubt);
    const range = this.metadata.outOfRange(sample.data.weights.length, sample.dim);
    if (range.length) this.#warn("RangeWarning", range.join(" "));
    for (const doubt of doubtsAboutRows(sample)) this.#warn("DataWarning", doubt);
    const most = landmarks === undefined ? this.metadata.landmarks : wholeNumber("landmarks", landmarks, 1);
    const reading = await readMixture((inputs) => this.#run(inputs, signal), sample, most, this.metadata.landmarks);
    return new Estimate({
      model: this,
      frame: sample.frame,
      diagnostics: this.#diagnostics(sample, reading.landmarks),
      columns,
      arrays: reading.arrays,
      reading: { mostLandmarks: reading.most, landmarksAreSample: reading.isComplete },
      data: sample.data,
      spread: sample.read === sample.data ? null : sample.read,
    });
  }

  /** Reads the bytes of a file that `save`, here or in Python, wrote. Its answers are those of the estimate. */
  async loadEstimate(bytes) {
    return new Estimate({ model: this, ...(await readEstimate(bytes, this)) });
  }

  /** Frees the memory of the session. Estimates go on to answer. */
  async release() {
    await this.#last.catch(() => {});
    await this.#network.release();
  }

  #run(inputs, signal) {
    const turn = this.#last.catch(() => {}).then(async () => {
      checkSignal(signal);
      const found = await this.#network.run(inputs, OUTPUTS);
      checkSignal(signal);
      return found;
    });
    this.#last = turn;
    return turn;
  }

  #diagnostics(sample, landmarks) {
    const { data, frame, cells, found, dim } = sample;
    return {
      n: data.weights.length,
      dim,
      effectiveSize: frame.effectiveSize,
      initialisation: frame.initialisation,
      shrinkage: frame.shrinkage,
      landmarks,
      device: this.device,
      warnings: doubtsOf(sample, this.metadata, landmarks),
      effort: "fast",
      rank: dim,
      steps: cells.steps,
      atoms: cells.atoms,
      atomWidths: cells.atomWidths,
      fewValued: cells.fewValued,
      copies: cells.copies,
      leftOut: found.leftOut,
      copied: found.copied,
      tied: tiedOf(sample),
      codes: found.codes,
    };
  }
}

function checkEffort(effort) {
  if (effort === "best") {
    throw new EffortError(
      "effort='best' needs the graphs encode.onnx and query.onnx, which this package does not run: pass " +
        "effort='fast', or use the Python package",
    );
  }
  if (effort !== "fast") {
    throw new InputError(
      `effort must be 'fast' (a mixture, in one pass) or 'best' (the mixture, refined), got ${shown(effort)}`,
    );
  }
}

/** The names of columns for messages, before their number is known to be right. */
const namesOf = (columns) => (Array.isArray(columns) ? columns : null);

const toConsole = ({ name, message }) => console.warn(`${name}: ${message}`);
