// The sample, and the reasons why a sample has no density.

export const LEAST = 3; // smallest number of points: with fewer the covariance is singular
export const FEWEST = 8; // smallest number of points on the slider
export const MOST = 2048; // largest number of points: more take too long in a browser

/** The sample: points drawn by hand, then the points of an example or a file. The first n are used. */
export class Sample {
  #drawn = [];
  #rest = new Float64Array();
  names = ["x", "y"];
  n = 0;

  get total() {
    return Math.min(MOST, this.#drawn.length / 2 + this.#rest.length / 2);
  }

  /** A copy of the points in use (2 n). */
  get used() {
    return Float64Array.from([...this.#drawn, ...this.#rest].slice(0, 2 * this.n));
  }

  /** Replaces the sample by points (2 n) in random order, and uses the first ones. */
  load(points, names, n) {
    this.#drawn = [];
    this.#rest = points;
    this.names = names;
    this.n = Math.min(n, this.total);
  }

  add(x, y) {
    if (this.n >= MOST) return false;
    this.#drawn.push(x, y);
    this.n += 1;
    return true;
  }

  /** Removes the last point drawn by hand; if there is none, the last point in use. */
  removeLast() {
    if (!this.n) return;
    if (this.#drawn.length) this.#drawn.length -= 2;
    else this.#rest = this.#rest.slice(0, 2 * (this.n - 1));
    this.n -= 1;
  }
}

/** The position of the slider (0 to 1000) for n of `total` points: logarithmic, starting at FEWEST. */
export function sliderOf(n, total) {
  if (total <= FEWEST) return 1000;
  return (1000 * Math.log(Math.max(n, FEWEST) / FEWEST)) / Math.log(total / FEWEST);
}

/** The number of points for a position of the slider, if there are `total` points. */
export function numberAt(slider, total) {
  return Math.min(total, Math.round(FEWEST * (total / FEWEST) ** (slider / 1000)));
}

/** The reason why points (2 n) have no density, or null. The bounds are those of the Python package. */
export function troubleOf(points, names) {
  const n = points.length / 2;
  if (n < LEAST) {
    const more = LEAST - n;
    return `${n} point${n === 1 ? "" : "s"}: ${more} more ${more === 1 ? "is" : "are"} needed. An estimate needs at least ${LEAST} points that are not all on one line.`;
  }
  for (const axis of [0, 1]) {
    const [low, high] = range(points, axis);
    if (high - low <= 16 * Number.EPSILON * Math.max(Math.abs(low), Math.abs(high))) {
      return `${names[axis]} is constant (${low}), so the points have no density in the plane. Add points with other values of ${names[axis]}, or choose another column.`;
    }
  }
  if (1 - Math.abs(correlation(points)) < 2e-14) {
    return `${names[0]} and ${names[1]} are collinear: all points are on one line, so they have no density in the plane. Add a point off that line, or choose another column.`;
  }
  return null;
}

/** The smallest and the largest value along an axis. */
export function range(points, axis) {
  let [low, high] = [Infinity, -Infinity];
  for (let i = axis; i < points.length; i += 2) {
    if (points[i] < low) low = points[i];
    if (points[i] > high) high = points[i];
  }
  return [low, high];
}

function correlation(points) {
  const n = points.length / 2;
  const middle = [0, 1].map((axis) => range(points, axis).reduce((sum, end) => sum + end / 2, 0));
  const reach = [0, 1].map((axis) => {
    const [low, high] = range(points, axis);
    return high - low;
  });
  const mean = [0, 0];
  for (let i = 0; i < points.length; i++) mean[i % 2] += (points[i] - middle[i % 2]) / reach[i % 2] / n;
  let [xx, xy, yy] = [0, 0, 0];
  for (let i = 0; i < points.length; i += 2) {
    const x = (points[i] - middle[0]) / reach[0] - mean[0];
    const y = (points[i + 1] - middle[1]) / reach[1] - mean[1];
    xx += x * x;
    xy += x * y;
    yy += y * y;
  }
  return xy / Math.sqrt(xx * yy);
}
