// The page's end of the worker: each task is a promise.

export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #waiting = new Map();
  #id = 0;

  /** `opening` is told the file of the model that is being opened. */
  constructor(opening) {
    this.#worker.onmessage = ({ data }) => {
      if (data.opening) return opening(data.opening);
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      return data.error === undefined ? resolve(data.result) : reject(new Error(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(
        event.message || "worker.js and the modules it needs cannot be loaded: write the site again",
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

  /** Opens the model in a folder; gives what it says about itself. */
  open(folder) {
    return this.#do("open", { folder: folder.href });
  }

  /** Makes the first sample quicker. */
  warm() {
    return this.#do("warm", {});
  }

  /** Reads a sample (x0, y0, x1, y1, ...), the KDE with `factor` times the bandwidth of Scott's rule. */
  read(sample, factor) {
    return this.#do("read", { sample, factor });
  }

  /** Gives the KDE another bandwidth. */
  smooth(factor) {
    return this.#do("smooth", { factor });
  }

  /** By name of estimator: log-density (M), score (2 M) at points (2 M), and the milliseconds it took. */
  ask(points, of = ["discoformer", "kde"]) {
    return this.#do("ask", { points, of });
  }

  /** The numeric columns of a file. */
  csv(file) {
    return this.#do("csv", { file });
  }
}
