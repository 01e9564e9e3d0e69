// Random numbers from a seed. The same seed gives the same numbers in every browser.

export class Random {
  #state;

  constructor(seed) {
    this.#state = (Math.imul(seed, 0x9e3779b1) ^ 0x5bd1e995) >>> 0 || 1;
    for (let i = 0; i < 16; i++) this.uniform();
  }

  /** Uniform in (0, 1): Marsaglia's xorshift with 32 bits of state and a multiplied output. */
  uniform() {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state >>> 0;
    return ((Math.imul(this.#state, 0x2c9277b5) >>> 0) + 0.5) / 2 ** 32;
  }

  /** Uniform between two numbers. */
  between(low, high) {
    return low + (high - low) * this.uniform();
  }

  /** Standard normal. */
  normal() {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Gamma distributed with the given shape and scale 1 (Marsaglia and Tsang, 2000). */
  gamma(shape) {
    const d = shape + 1 - 1 / 3; // for shape + 1, which is at least 1; the power of a uniform lowers it by 1
    for (;;) {
      const z = this.normal();
      const v = (1 + z / Math.sqrt(9 * d)) ** 3;
      if (v > 0 && Math.log(this.uniform()) < z * z / 2 + d * (1 - v + Math.log(v))) {
        return d * v * this.uniform() ** (1 / shape);
      }
    }
  }

  /** Shuffles points (x0, y0, x1, y1, ...) in place. */
  shuffle(points) {
    for (let i = points.length / 2 - 1; i > 0; i--) {
      const j = Math.floor(this.uniform() * (i + 1));
      for (const axis of [0, 1]) {
        [points[2 * i + axis], points[2 * j + axis]] = [points[2 * j + axis], points[2 * i + axis]];
      }
    }
    return points;
  }
}
