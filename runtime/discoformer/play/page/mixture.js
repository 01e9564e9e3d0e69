// A mixture of K Student-t distributions in the plane, in closed form. Component k has the weight w, the mean m, the
// scale matrix L L^T (L lower triangular) and nu degrees of freedom. At a point y, with h = nu / 2 + 1,
//
//   q_k = |L^-1 (y - m)|^2
//   l_k = log w - log(2 pi det L) - h log(1 + q_k / nu)
//   log f(y) = log sum_k exp l_k
//   grad log f(y) = -sum_k exp(l_k - log f(y)) 2 h / (nu + q_k) L^-T L^-1 (y - m)

const WIDTH = 8; // numbers stored for each component
const DEPTH = 30; // a component this many nats below another is left out: it has less than 1e-13 of its share

export class Mixture {
  #components; // for each: m (2), L^-1 (three entries: a, 0; b, c), log w - log(2 pi det L), h, 1 / nu
  #cumulative; // sums of the weights

  /** Log-weights (K), means (K, 2), scale matrices (K, 2, 2) and degrees of freedom (K), each flat. */
  constructor(logWeights, means, scales, freedom) {
    this.count = logWeights.length;
    this.#components = new Float64Array(WIDTH * this.count);
    this.#cumulative = new Float64Array(this.count);
    let total = 0;
    for (let k = 0; k < this.count; k++) {
      const p = Math.sqrt(scales[4 * k]);
      const q = scales[4 * k + 2] / p;
      const r = Math.sqrt(scales[4 * k + 3] - q * q);
      const peak = logWeights[k] - Math.log(2 * Math.PI * p * r);
      const parts = [1 / p, -q / (p * r), 1 / r, peak, freedom[k] / 2 + 1, 1 / freedom[k]];
      this.#components.set([means[2 * k], means[2 * k + 1], ...parts], WIDTH * k);
      total += Math.exp(logWeights[k]);
      this.#cumulative[k] = total;
    }
  }

  /** Whether all numbers are finite. */
  get isFinite() {
    return this.#components.every(Number.isFinite);
  }

  /** Log-density (M) in nats and score (2 M) at points (2 M), in one pass over the components for each point. */
  ask(points) {
    const of = this.#components;
    const logDensity = new Float64Array(points.length / 2);
    const score = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      let most = -Infinity; // the greatest l_k so far; the sums below are divided by its exponential
      let total = 0;
      let sx = 0;
      let sy = 0;
      for (let c = 0; c < of.length; c += WIDTH) {
        const dx = points[i] - of[c];
        const dy = points[i + 1] - of[c + 1];
        const u = of[c + 2] * dx;
        const v = of[c + 3] * dx + of[c + 4] * dy;
        const ratio = 1 + (u * u + v * v) * of[c + 7];
        const log = of[c + 5] - of[c + 6] * Math.log(ratio);
        if (log < most - DEPTH) continue;
        if (log > most) {
          const shrink = Math.exp(most - log);
          total *= shrink;
          sx *= shrink;
          sy *= shrink;
          most = log;
        }
        const share = Math.exp(log - most);
        const pull = (2 * of[c + 6] * of[c + 7] * share) / ratio;
        total += share;
        sx -= pull * (of[c + 2] * u + of[c + 3] * v);
        sy -= pull * of[c + 4] * v;
      }
      logDensity[i / 2] = most + Math.log(total);
      score[i] = sx / total;
      score[i + 1] = sy / total;
    }
    return { logDensity, score };
  }

  /** Independent draws (2 n). */
  draw(n, random) {
    const drawn = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      const at = random.uniform() * this.#cumulative.at(-1);
      const c = WIDTH * this.#cumulative.findIndex((sum) => at <= sum);
      const [x, y, a, b, d, , h, perFreedom] = this.#components.subarray(c, c + WIDTH);
      const stretch = 1 / Math.sqrt(2 * random.gamma(h - 1) * perFreedom); // sqrt(nu / chi-square)
      const u = (stretch * random.normal()) / a;
      const v = (stretch * random.normal() - b * u) / d;
      drawn.set([x + u, y + v], 2 * i);
    }
    return drawn;
  }
}
