// The two estimators: DiScoFormer by the JavaScript package, and the KDE. Each has a thread of its own, so that the
// page does not freeze and neither waits for the other.

import { loadInWorker } from "./discoformer/worker.js";
import { Tasks } from "./tasks.js";

export const ESTIMATORS = ["discoformer", "kde"];

export class Engine {
  #kde = new Tasks("./kde_worker.js");
  #model = null;
  #estimate = null;

  /** Loads the model in a folder; returns its metadata. */
  async open(folder) {
    this.#model = await loadInWorker({
      ort: new URL("./ort.js", import.meta.url),
      model: new URL("mixture.onnx", folder),
      onWarning: () => {}, // the diagnostics have them too
    });
    return this.#model.metadata;
  }

  /** Runs the model once: browsers optimise code that has run several times. */
  async warm() {
    const some = matrix(Float64Array.from({ length: 1024 }, (_, k) => Math.sin(k * k)));
    const estimate = await this.#model.estimate(some);
    await estimate.logDensityAndScore(some);
    await estimate.release();
  }

  /**
   * Reads a sample (x0, y0, x1, y1, ...) with the names of its axes; returns the diagnostics of the model, and the
   * milliseconds that it took. The bandwidth of the KDE is `factor` times Scott's rule.
   */
  async read(sample, names, factor) {
    const [reading] = await Promise.all([
      this.#readByModel(sample, names),
      this.#kde.do("read", { sample, factor }),
    ]);
    return reading;
  }

  async #readByModel(sample, columns) {
    const start = performance.now();
    const estimate = await this.#model.estimate(matrix(sample), { columns });
    this.#estimate?.release();
    this.#estimate = estimate;
    return { ...estimate.diagnostics, ms: performance.now() - start };
  }

  /** Changes the bandwidth of the KDE. */
  smooth(factor) {
    return this.#kde.do("smooth", { factor });
  }

  /** For each estimator: log-density (M) and score (2 M) at points (2 M), and the milliseconds it took. */
  async ask(points, of = ESTIMATORS) {
    const ask = (name) => (name === "kde" ? this.#kde.do("ask", { points }) : this.#askModel(points));
    const answers = await Promise.all(of.map(ask));
    return Object.fromEntries(of.map((name, k) => [name, answers[k]]));
  }

  async #askModel(points) {
    const start = performance.now();
    const { logDensity, score } = await this.#estimate.logDensityAndScore(matrix(points));
    return { logDensity, score: score.data, ms: performance.now() - start };
  }

  /** Draws (2 n) from the estimate of a name. The same seed gives the same draws. */
  async draw(name, n, seed) {
    if (name === "kde") return this.#kde.do("draw", { n, seed });
    return (await this.#estimate.sample(n, { seed })).data;
  }

  /** The numeric columns of a file. */
  csv(file) {
    return this.#kde.do("csv", { file });
  }
}

const matrix = (points) => ({ data: points, shape: [points.length / 2, 2] });
