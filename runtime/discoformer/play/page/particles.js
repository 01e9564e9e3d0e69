// Particles of one estimate f, in unit coordinates of the view. They follow its score s = grad log f, or are drawn.
//
//   ascent    u <- u + h s. Each particle has its own h, which shrinks if log f would fall. It ends at a mode.
//   langevin  u <- u + h s + sqrt(2 h) noise, accepted by the Metropolis-Hastings rule. It becomes a draw from f.
//   draws     u is an exact draw from f, a new one at each step.

const LONGEST = 0.02; // longest step of an ascent
const REST = 2e-4; // a particle with a shorter step is at rest
const APART = 0.015; // smallest distance between two modes
const TRAIL = 14; // number of past positions that are kept
const ACCEPTED = 0.6; // share of accepted Langevin steps that the step size is adapted to

export class Particles {
  #ask;
  #draw;
  #view;
  #random;
  #found = null; // log-density and score at the positions, in unit coordinates
  #steps; // h of each particle, for ascent
  #step = 4e-4; // h for Langevin

  /**
   * `ask(points)` returns log-density and score at points (2 n), `draw(n, seed)` returns draws (2 n), in data units.
   * The first positions are uniformly random.
   */
  constructor({ ask, draw }, view, random, count) {
    this.#ask = ask;
    this.#draw = draw;
    this.#view = view;
    this.#random = random;
    this.positions = Float64Array.from({ length: 2 * count }, () => random.uniform());
    this.#steps = new Float64Array(count).fill(1e-3);
    this.lengths = new Float64Array(count).fill(1);
    this.trail = [this.positions];
    this.steps = 0;
  }

  get count() {
    return this.positions.length / 2;
  }

  /** Forgets what is known at the positions, because the estimate has changed. */
  forget() {
    this.#found = null;
    this.lengths.fill(1);
  }

  /** Log-densities at the positions, in nats. */
  get logDensities() {
    return this.#found?.logDensity ?? null;
  }

  /** Whether all particles of an ascent are at rest. */
  get atRest() {
    return this.lengths.every((length) => length < REST);
  }

  /** The number of modes at which particles rest. */
  get modes() {
    const found = [];
    for (let i = 0; i < this.count; i++) {
      if (this.lengths[i] >= REST) continue;
      const [u, v] = this.positions.subarray(2 * i, 2 * i + 2);
      if (!found.some(([a, b]) => Math.hypot(u - a, v - b) < APART)) found.push([u, v]);
    }
    return found.length;
  }

  /** Makes one step of "ascent", "langevin" or "draws". */
  async advance(how) {
    this.#found ??= await this.#look(this.positions);
    await { ascent: () => this.#climb(), langevin: () => this.#wander(), draws: () => this.#redraw() }[how]();
    this.trail = how === "draws" ? [this.positions] : [...this.trail, this.positions].slice(-TRAIL);
    this.steps += 1;
  }

  async #climb() {
    const { logDensity, score } = this.#found;
    const moved = this.positions.slice();
    for (let i = 0; i < this.count; i++) {
      const size = Math.hypot(score[2 * i], score[2 * i + 1]);
      const step = Math.min(this.#steps[i], LONGEST / (size || 1));
      this.lengths[i] = step * size;
      moved[2 * i] += step * score[2 * i];
      moved[2 * i + 1] += step * score[2 * i + 1];
    }
    const there = await this.#look(moved);
    this.#take(moved, there, (i) => {
      const higher = there.logDensity[i] >= logDensity[i];
      this.#steps[i] *= higher ? 1.3 : 0.4;
      return higher;
    });
  }

  async #wander() {
    const { logDensity, score } = this.#found;
    const h = this.#step;
    const moved = this.positions.map(
      (value, k) => value + h * score[k] + Math.sqrt(2 * h) * this.#random.normal(),
    );
    const there = await this.#look(moved);
    const back = (from, to, scores, i) => {
      const [a, b] = [0, 1].map((axis) => to[2 * i + axis] - from[2 * i + axis] - h * scores[2 * i + axis]);
      return -(a * a + b * b) / (4 * h);
    };
    let accepted = 0;
    this.#take(moved, there, (i) => {
      const gain = there.logDensity[i] - logDensity[i];
      const ways = back(moved, this.positions, there.score, i) - back(this.positions, moved, score, i);
      const yes = Math.log(this.#random.uniform()) < gain + ways;
      if (yes) accepted += 1;
      return yes;
    });
    this.#step = Math.min(0.02, this.#step * Math.exp(0.2 * (accepted / this.count - ACCEPTED)));
  }

  async #redraw() {
    const points = await this.#draw(this.count, this.steps);
    for (let k = 0; k < points.length; k += 2) points.set(this.#view.toUnit(points[k], points[k + 1]), k);
    this.positions = points;
    this.#found = await this.#look(points);
  }

  /** Moves the particles for which `accepts` returns true; `there` is what is known at their new positions. */
  #take(moved, there, accepts) {
    const positions = this.positions.slice();
    const found = { logDensity: this.#found.logDensity.slice(), score: this.#found.score.slice() };
    for (let i = 0; i < this.count; i++) {
      if (!accepts(i)) continue;
      positions.set(moved.subarray(2 * i, 2 * i + 2), 2 * i);
      found.logDensity[i] = there.logDensity[i];
      found.score.set(there.score.subarray(2 * i, 2 * i + 2), 2 * i);
    }
    this.positions = positions;
    this.#found = found;
  }

  async #look(positions) {
    const points = positions.slice();
    for (let k = 0; k < points.length; k += 2) points.set(this.#view.toData(points[k], points[k + 1]), k);
    const { logDensity, score } = await this.#ask(points);
    const { width, height } = this.#view;
    return { logDensity, score: score.map((value, k) => value * (k % 2 ? height : width)) };
  }
}
