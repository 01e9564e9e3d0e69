// Interface of the page to the worker: each task returns a promise.

export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #id = 0;

  constructor() {
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      return data.error === undefined ? resolve(data.result) : reject(new Error(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(
        event.message || "worker.js or a module that it imports cannot be loaded: create the site again",
      );
    };
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }

  #do(task, given) {
    return new Promise((resolve, reject) => {
      this.#id += 1;
      this.#waiting.set(this.#id, { resolve, reject });
      this.#worker.postMessage({ id: this.#id, task, given });
    });
  }

  /** Loads the model in a folder; returns its metadata. */
  open(folder) {
    return this.#do("open", { folder: folder.href });
  }

  /** Runs the model once: browsers optimise code that has run several times. */
  warm() {
    return this.#do("warm", {});
  }

  /**
   * Reads a sample (x0, y0, x1, y1, ...); returns the number of components and the milliseconds it took the model.
   * The bandwidth of the KDE is `factor` times Scott's rule.
   */
  read(sample, factor) {
    return this.#do("read", { sample, factor });
  }

  /** Changes the bandwidth of the KDE. */
  smooth(factor) {
    return this.#do("smooth", { factor });
  }

  /** For each estimator: log-density (M) and score (2 M) at points (2 M), and the milliseconds it took. */
  ask(points, of = ["discoformer", "kde"]) {
    return this.#do("ask", { points, of });
  }

  /** Draws (2 n) from the estimate of a name. The same seed gives the same draws. */
  draw(name, n, seed) {
    return this.#do("draw", { name, n, seed });
  }

  /** The numeric columns of a file. */
  csv(file) {
    return this.#do("csv", { file });
  }
}
