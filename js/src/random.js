// Random numbers from a seed. The same seed gives the same numbers in every environment, but not those of NumPy.

export class Random {
  #state;

  /** The seed is a whole number from 0 to 2^53 - 1. */
  constructor(seed) {
    const mixed = Math.imul(seed >>> 0, 0x9e3779b1) ^ Math.imul(Math.floor(seed / 2 ** 32) + 1, 0x85ebca6b);
    this.#state = Uint32Array.from([mixed, mixed ^ 0x5bd1e995, ~mixed, 0x2545f491]);
    for (let i = 0; i < 20; i++) this.#next();
  }

  /** Marsaglia's xorshift with 128 bits of state and a multiplied output, 32 bits. */
  #next() {
    const s = this.#state;
    let t = s[3];
    t ^= t << 11;
    t ^= t >>> 8;
    [s[3], s[2], s[1]] = [s[2], s[1], s[0]];
    s[0] = t ^ s[0] ^ (s[0] >>> 19);
    return Math.imul(s[0], 0x2c9277b5) >>> 0;
  }

  /** Uniform in (0, 1). */
  uniform() {
    return ((this.#next() >>> 6) * 2 ** 27 + (this.#next() >>> 5) + 0.5) / 2 ** 53;
  }

  /** Standard normal (Box and Muller, 1958). */
  normal() {
    return Math.sqrt(-2 * Math.log(this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Gamma distributed with the given shape and scale 1 (Marsaglia and Tsang, 2000). */
  gamma(shape) {
    const d = shape + 1 - 1 / 3; // for shape + 1, which is at least 1; the power of a uniform lowers it by 1
    for (;;) {
      const z = this.normal();
      const v = (1 + z / Math.sqrt(9 * d)) ** 3;
      if (v > 0 && Math.log(this.uniform()) < (z * z) / 2 + d * (1 - v + Math.log(v))) {
        return d * v * this.uniform() ** (1 / shape);
      }
    }
  }
}
