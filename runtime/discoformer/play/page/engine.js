// The two estimators, each in a thread of its own, so that the page does not freeze and neither waits for the other.

import { Tasks } from "./tasks.js";

export const ESTIMATORS = ["discoformer", "kde"];

export class Engine {
  #threads = { discoformer: new Tasks("./model_worker.js"), kde: new Tasks("./kde_worker.js") };

  /** Loads the model in a folder; returns its metadata. */
  open(folder) {
    return this.#threads.discoformer.do("open", { folder: folder.href });
  }

  /** Runs the model once: browsers optimise code that has run several times. */
  warm() {
    return this.#threads.discoformer.do("warm");
  }

  /**
   * Reads a sample (x0, y0, x1, y1, ...); returns the number of components and the milliseconds it took the model.
   * The bandwidth of the KDE is `factor` times Scott's rule.
   */
  async read(sample, factor) {
    const { discoformer, kde } = this.#threads;
    const [reading] = await Promise.all([discoformer.do("read", { sample }), kde.do("read", { sample, factor })]);
    return reading;
  }

  /** Changes the bandwidth of the KDE. */
  smooth(factor) {
    return this.#threads.kde.do("smooth", { factor });
  }

  /** For each estimator: log-density (M) and score (2 M) at points (2 M), and the milliseconds it took. */
  async ask(points, of = ESTIMATORS) {
    const answers = await Promise.all(of.map((name) => this.#threads[name].do("ask", { points })));
    return Object.fromEntries(of.map((name, k) => [name, answers[k]]));
  }

  /** Draws (2 n) from the estimate of a name. The same seed gives the same draws. */
  draw(name, n, seed) {
    return this.#threads[name].do("draw", { n, seed });
  }

  /** The numeric columns of a file. */
  csv(file) {
    return this.#threads.kde.do("csv", { file });
  }
}
