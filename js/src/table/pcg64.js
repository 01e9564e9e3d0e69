// NumPy's generator numpy.random.default_rng(0), so that rows are spread in the same places (PCG XSL RR 128/64, O'Neill
// 2014). The state is that of NumPy for the seed 0.

const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const INCREMENT = 87136372517582989555478159403783844777n;
const MASK = (1n << 64n) - 1n;
const WIDE = (1n << 128n) - 1n;

export class Pcg64 {
  #state = 35399562948360463058890781895381311971n;

  /** 64 random bits. */
  next() {
    this.#state = (this.#state * MULTIPLIER + INCREMENT) & WIDE;
    const mixed = (this.#state >> 64n) ^ (this.#state & MASK);
    const turn = this.#state >> 122n;
    return ((mixed >> turn) | (mixed << (64n - turn))) & MASK;
  }

  /** Uniform in [0, 1). */
  uniform() {
    return Number(this.next() >> 11n) / 2 ** 53;
  }
}
