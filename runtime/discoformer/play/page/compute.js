// Computes what the panels show: the sample is read, then both estimators are evaluated on grids, at the same time.
// Only the newest request counts: an older one is stopped between two parts of its grid. The coarse grid is always
// finished, so that the picture follows a stroke of the pointer that does not pause.

import { ESTIMATORS } from "./engine.js";
import { levelsEnclosing } from "./field.js";
import { SHARES } from "./picture.js";

const COARSE = 24; // nodes along each side of a first, coarse grid
const CHUNK = 4096; // nodes evaluated at a time, so that other requests need not wait long

export class Computation {
  #engine;
  #told;
  #wish = null;
  #busy = false;
  #era = 0; // increases when the sample is cleared: results of an earlier era are ignored
  #idle = [];
  #read = {};
  answers = { discoformer: null, kde: null };
  reading = null; // the diagnostics of the model, and the milliseconds it took to read the sample

  /** `told` has `read()`, `answered()`, `finished()` when a request is met in full, and `failed(error)`. */
  constructor(engine, told) {
    this.#engine = engine;
    this.#told = told;
  }

  /** Requests a computation: { points, names, factor, view, size, quick }. `quick` asks for the coarse grid alone. */
  want(wish) {
    this.#wish = wish;
    if (!this.#busy) this.#run();
  }

  /** Clears everything, because nothing can be estimated. */
  clear() {
    this.#era += 1;
    this.#wish = null;
    this.#forget();
  }

  #forget() {
    this.#read = {};
    this.answers = { discoformer: null, kde: null };
    this.reading = null;
  }

  /** Whether the estimators have read a sample. */
  get isReady() {
    return this.#read.points !== undefined;
  }

  /** Resolves when no computation is left. */
  idle() {
    return this.#busy ? new Promise((resolve) => this.#idle.push(resolve)) : Promise.resolve();
  }

  async #run() {
    this.#busy = true;
    while (this.#wish) {
      const wish = this.#wish;
      this.#wish = null;
      try {
        await this.#meet(wish);
      } catch (error) {
        this.#forget();
        this.#told.failed(error);
      }
    }
    this.#busy = false;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  async #meet(wish) {
    const { points, names, factor } = wish;
    const era = this.#era;
    if (points !== this.#read.points) {
      const reading = await this.#engine.read(points, names, factor);
      if (this.#era !== era) return;
      this.#read = { points, factor };
      this.reading = reading;
      this.#told.read();
    } else if (factor !== this.#read.factor) {
      await this.#engine.smooth(factor);
      if (this.#era !== era) return;
      this.#read = { points, factor };
      this.#told.read();
    }
    await Promise.all(ESTIMATORS.map((name) => this.#answer(name, wish, era)));
    if (!wish.quick && ESTIMATORS.every((name) => this.#isMet(name, wish, wish.size))) this.#told.finished();
  }

  async #answer(name, wish, era) {
    for (const size of wish.quick ? [COARSE] : [COARSE, wish.size]) {
      if (this.#isMet(name, wish, size)) continue;
      const answer = await this.#grid(name, wish.view, size);
      if (!answer || this.#era !== era) return;
      this.answers[name] = { ...answer, ...wish, size, for: name === "kde" ? wish.factor : null };
      this.#told.answered();
    }
  }

  /** Whether there is an answer to this request on a grid of this size or finer. */
  #isMet(name, wish, size) {
    const answer = this.answers[name];
    return (
      answer?.points === wish.points &&
      answer.view === wish.view &&
      answer.size >= size &&
      (answer.size === size || size !== wish.size) &&
      (name !== "kde" || answer.for === wish.factor)
    );
  }

  /** Log-density and score on a grid, or null if there is a newer request. */
  async #grid(name, view, size) {
    const nodes = view.nodes(size);
    const logDensity = new Float64Array(size * size);
    const score = new Float64Array(2 * size * size);
    let ms = 0;
    for (let start = 0; start < size * size; start += CHUNK) {
      if (this.#wish && size !== COARSE) return null;
      const part = await this.#engine.ask(nodes.slice(2 * start, 2 * (start + CHUNK)), [name]);
      logDensity.set(part[name].logDensity, start);
      score.set(part[name].score, 2 * start);
      ms += part[name].ms;
    }
    return { logDensity, score, ms, levels: levelsEnclosing(SHARES, logDensity) };
  }
}

/** The scale that both panels share: the largest log-density, and a typical slope in unit coordinates of the view. */
export function sharedScale(answers) {
  const found = Object.values(answers).filter(Boolean);
  let top = -Infinity;
  for (const { logDensity } of found) for (const value of logDensity) if (value > top) top = value;
  const slopes = new Float64Array(found.reduce((sum, { score }) => sum + score.length / 2, 0));
  let n = 0;
  for (const { score, view } of found) {
    for (let k = 0; k < score.length; k += 2) {
      slopes[n++] = Math.hypot(score[k] * view.width, score[k + 1] * view.height);
    }
  }
  return { top, steep: slopes.sort()[Math.floor(n / 2)] || 1 };
}
