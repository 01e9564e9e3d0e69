// Tasks that run in a worker, a thread of its own, one after the other. The page calls them by name.

/** The page's side of a worker: each task returns a promise. */
export class Tasks {
  #worker;
  #waiting = new Map();
  #id = 0;

  /** `name` is the file of the worker, beside this one. */
  constructor(name) {
    this.#worker = new Worker(new URL(name, import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => {
      const { resolve, reject } = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      return data.error === undefined ? resolve(data.result) : reject(new Error(data.error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || `${name} or a module that it imports cannot be loaded: create the site again`);
    };
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new Error(message));
    this.#waiting.clear();
  }

  do(task, given = {}) {
    return new Promise((resolve, reject) => {
      this.#id += 1;
      this.#waiting.set(this.#id, { resolve, reject });
      this.#worker.postMessage({ id: this.#id, task, given });
    });
  }
}

/** The worker's side: `tasks` has a function for each name. */
export function serve(tasks) {
  const perform = async ({ id, task, given }) => {
    try {
      postMessage({ id, result: await tasks[task](given) });
    } catch (error) {
      postMessage({ id, error: error?.message ?? String(error) });
    }
  };
  let last = Promise.resolve();
  onmessage = ({ data }) => {
    last = last.then(() => perform(data));
  };
}
