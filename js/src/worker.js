// A model in a Web Worker, so that a page stays responsive while the network reads a sample. The interface is that of
// `load`; each answer is a promise. worker_thread.js is what runs in the worker.

import { DiscoformerError, ERRORS } from "./errors.js";
import { checkSignal } from "./inputs.js";

/** Loads a model in a worker of its own; see worker.d.ts for the options. */
export async function loadInWorker({ ort, model, device, onWarning = toConsole } = {}) {
  const worker = new Worker(new URL("./worker_thread.js", import.meta.url), { type: "module" });
  const calls = new Calls(worker, onWarning);
  const absolute = (url) => (typeof url === "string" || url instanceof URL ? new URL(url, globalThis.location?.href).href : url);
  try {
    return new RemoteModel(calls, await calls.do("load", { ort: absolute(ort), model: absolute(model), device }));
  } catch (error) {
    worker.terminate();
    throw error;
  }
}

class RemoteModel {
  #calls;

  constructor(calls, about) {
    this.#calls = calls;
    Object.assign(this, about); // metadata, device, sha256
  }

  /** Reads a sample once, to be queried as often as you want. */
  async estimate(X, { signal, ...options } = {}) {
    return new RemoteEstimate(this, this.#calls, await this.#calls.do("estimate", { X, options }, signal));
  }

  /** Reads the bytes of a file that `save`, here or in Python, wrote. */
  async loadEstimate(bytes) {
    return new RemoteEstimate(this, this.#calls, await this.#calls.do("loadEstimate", { bytes }));
  }

  /** Ends the worker. Estimates end with it. */
  release() {
    this.#calls.end();
  }
}

class RemoteEstimate {
  #calls;
  #key;

  constructor(model, calls, { key, ...about }) {
    this.model = model;
    this.#calls = calls;
    this.#key = key;
    Object.assign(this, about); // dim, effort, columns, diagnostics
  }

  logDensity(Y, options) {
    return this.#ask("logDensity", Y, options);
  }

  density(Y, options) {
    return this.#ask("density", Y, options);
  }

  score(Y, options) {
    return this.#ask("score", Y, options);
  }

  logDensityAndScore(Y, options) {
    return this.#ask("logDensityAndScore", Y, options);
  }

  async sample(n, options = {}) {
    return this.#calls.do("sample", { key: this.#key, n, options });
  }

  async save(options = {}) {
    return this.#calls.do("save", { key: this.#key, options });
  }

  /** Frees the memory of the estimate in the worker. */
  async release() {
    await this.#calls.do("release", { key: this.#key });
  }

  #ask(method, Y, { signal } = {}) {
    return this.#calls.do("ask", { key: this.#key, method, Y }, signal);
  }
}

/** Calls to a worker, each of which has a number by which it is answered. */
class Calls {
  #worker;
  #waiting = new Map();
  #count = 0;

  constructor(worker, onWarning) {
    this.#worker = worker;
    worker.onmessage = ({ data: { id, result, error, warning } }) => {
      if (warning) return onWarning(warning);
      const call = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) call?.reject(asError(error));
      else call?.resolve(result);
    };
    worker.onerror = (event) => {
      event.preventDefault?.();
      this.#fail(event.message || "the worker, or a module that it imports, cannot be loaded");
    };
  }

  async do(task, given, signal) {
    checkSignal(signal);
    const id = ++this.#count;
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting.delete(id);
        this.#worker.postMessage({ id, task: "abort" });
        reject(signal.reason);
      };
      const settled = (settle) => (value) => {
        signal?.removeEventListener("abort", abort);
        settle(value);
      };
      this.#waiting.set(id, { resolve: settled(resolve), reject: settled(reject) });
      signal?.addEventListener("abort", abort, { once: true });
      this.#worker.postMessage({ id, task, given });
    });
  }

  end() {
    this.#worker.terminate();
    this.#fail("the worker has been ended: load the model again");
  }

  #fail(message) {
    for (const { reject } of this.#waiting.values()) reject(new DiscoformerError(message));
    this.#waiting.clear();
  }
}

const asError = ({ name, message }) => new (ERRORS[name] ?? DiscoformerError)(message);

const toConsole = ({ name, message }) => console.warn(`${name}: ${message}`);
