// Gaussian kernel density estimate in two dimensions:
//
//   f(y) = 1/n sum_j N(y; x_j, h^2 C),    h = factor n^(-1/6)   (Scott's rule if the factor is 1)
//
// with C the covariance of the sample (divided by n - 1), as in scipy.stats.gaussian_kde.

export class Kde {
  #sample;
  #mean;
  #inverse; // lower triangular L^-1 with L L^T = h^2 C: (a, 0; b, c)
  #whitened;
  #logNormaliser;

  constructor(sample, factor) {
    const n = sample.length / 2;
    const [mean, covariance] = moments(sample);
    const h = factor * n ** (-1 / 6);
    const p = h * Math.sqrt(covariance[0]);
    const q = (h * h * covariance[1]) / p;
    const r = Math.sqrt(h * h * covariance[2] - q * q);
    this.#sample = sample;
    this.#mean = mean;
    this.#inverse = [1 / p, -q / (p * r), 1 / r];
    this.#whitened = this.#whiten(sample);
    this.#logNormaliser = Math.log(2 * Math.PI * n * p * r);
  }

  /** The same sample with another bandwidth. */
  with(factor) {
    return new Kde(this.#sample, factor);
  }

  /** Log-density (M) in nats and score (2 M) at points (2 M). */
  ask(points) {
    const [a, b, c] = this.#inverse;
    const data = this.#whitened;
    const queries = this.#whiten(points);
    const logDensity = new Float64Array(queries.length / 2);
    const score = new Float64Array(queries.length);
    const squares = new Float64Array(data.length / 2);
    for (let i = 0; i < logDensity.length; i++) {
      const [x, y] = [queries[2 * i], queries[2 * i + 1]];
      let least = Infinity;
      for (let j = 0; j < squares.length; j++) {
        const square = (data[2 * j] - x) ** 2 + (data[2 * j + 1] - y) ** 2;
        squares[j] = square;
        if (square < least) least = square;
      }
      let [total, dx, dy] = [0, 0, 0];
      for (let j = 0; j < squares.length; j++) {
        const weight = Math.exp((least - squares[j]) / 2);
        total += weight;
        dx += weight * (data[2 * j] - x);
        dy += weight * (data[2 * j + 1] - y);
      }
      logDensity[i] = Math.log(total) - least / 2 - this.#logNormaliser;
      score[2 * i] = (a * dx + b * dy) / total;
      score[2 * i + 1] = (c * dy) / total;
    }
    return { logDensity, score };
  }

  /** Independent draws (2 n). */
  draw(n, random) {
    const [a, b, c] = this.#inverse;
    const drawn = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      const at = 2 * Math.floor((random.uniform() * this.#sample.length) / 2);
      const u = random.normal() / a;
      const v = (random.normal() - b * u) / c;
      drawn.set([this.#sample[at] + u, this.#sample[at + 1] + v], 2 * i);
    }
    return drawn;
  }

  #whiten(points) {
    const [a, b, c] = this.#inverse;
    const whitened = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      const [x, y] = [points[i] - this.#mean[0], points[i + 1] - this.#mean[1]];
      whitened[i] = a * x;
      whitened[i + 1] = b * x + c * y;
    }
    return whitened;
  }
}

/** Mean (x, y) and covariance (xx, xy, yy) of a sample. */
function moments(sample) {
  const n = sample.length / 2;
  let [x, y] = [0, 0];
  for (let i = 0; i < sample.length; i += 2) {
    x += sample[i] / n;
    y += sample[i + 1] / n;
  }
  const sums = [0, 0, 0];
  for (let i = 0; i < sample.length; i += 2) {
    const [u, v] = [sample[i] - x, sample[i + 1] - y];
    sums[0] += u * u;
    sums[1] += u * v;
    sums[2] += v * v;
  }
  return [[x, y], sums.map((sum) => sum / (n - 1))];
}
