// Particles in both panels: they start at the same places, the worker computes the steps, and the page moves them
// smoothly between steps.

import { Random } from "./discoformer/random.js";
import { ESTIMATORS } from "./engine.js";
import { short } from "./numbers.js";
import { Particles } from "./particles.js";

const COUNT = 80; // in each panel
const SEED = 7;
const SHORTEST = 40; // smallest number of milliseconds between steps
const LEAPS = 40; // number of steps without animation, for users who prefer reduced motion

export const WORDS = {
  ascent: "Each particle moves along the score, towards higher density, until it rests at a mode (a local maximum).",
  langevin:
    "Each particle moves along the score, with random noise. After many steps the particles are a sample from the estimated density (Metropolis-adjusted Langevin).",
  draws: "Each particle is an independent, exact draw from the estimated density.",
};

export class Follow {
  #engine;
  #told;
  #clock = { start: 0, length: 1 };
  #run = 0;
  particles = null; // by name of the estimator
  playing = false;

  /** `told` has moved(), called on every frame, and changed(), called when play begins, advances or ends. */
  constructor(engine, told) {
    this.#engine = engine;
    this.#told = told;
  }

  /** The position of the current frame between the last two steps, 0 to 1. */
  get part() {
    return this.playing ? Math.min(1, (performance.now() - this.#clock.start) / this.#clock.length) : 1;
  }

  /** Creates the particles if there are none. */
  release(view) {
    this.particles ??= Object.fromEntries(
      ESTIMATORS.map((name) => {
        const ask = async (points) => (await this.#engine.ask(points, [name]))[name];
        const draw = (n, seed) => this.#engine.draw(name, n, seed);
        return [name, new Particles({ ask, draw }, view, new Random(SEED), COUNT)];
      }),
    );
  }

  remove() {
    this.playing = false;
    this.particles = null;
    this.#told.changed();
  }

  pause() {
    this.playing = false;
  }

  /** Forgets what is known at the particles, because the estimates have changed. */
  forget() {
    for (const name of ESTIMATORS) this.particles?.[name].forget();
  }

  /** Moves the particles until they rest or are paused. `how()` returns a key of WORDS. */
  async play(view, how, still) {
    this.release(view);
    this.playing = true;
    this.#run += 1;
    const run = this.#run;
    const goesOn = () => this.playing && this.#run === run;
    this.#told.changed();
    if (!still) this.#animate();
    for (let step = 0; goesOn() && !(still && step >= LEAPS); step++) {
      await this.#advance(how(), still);
      if (goesOn() && this.#isOver(how())) break;
    }
    if (this.#run !== run) return;
    this.playing = false;
    this.#told.moved();
    this.#told.changed();
  }

  #isOver(how) {
    return how === "draws" || (how === "ascent" && ESTIMATORS.every((name) => this.particles[name].atRest));
  }

  async #advance(how, still) {
    const start = performance.now();
    const all = this.particles;
    await Promise.all(ESTIMATORS.map((name) => all[name].advance(how)));
    const length = Math.max(SHORTEST, performance.now() - start);
    this.#clock = { start: performance.now(), length };
    if (!still) await new Promise((resolve) => setTimeout(resolve, start + SHORTEST - performance.now()));
    this.#told.changed();
  }

  #animate() {
    if (!this.playing) return;
    this.#told.moved();
    requestAnimationFrame(() => this.#animate());
  }

  /** A short text about the particles of an estimator. */
  words(name, how) {
    const particles = this.particles?.[name];
    if (!particles?.logDensities) return "";
    if (how === "ascent" && particles.atRest) {
      const { modes } = particles;
      return `at rest at ${modes} mode${modes === 1 ? "" : "s"}`;
    }
    const mean = particles.logDensities.reduce((sum, value) => sum + value, 0) / particles.count;
    return `mean log-density ${short(mean, 3)} nats`;
  }
}
