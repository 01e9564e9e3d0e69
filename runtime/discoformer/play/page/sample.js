// What can be estimated, and in words what cannot.

export const LEAST = 3; // points: fewer have a singular covariance
export const FEWEST = 8; // points that the slider goes down to, where there are more
export const MOST = 2048; // points: more take too long in a browser

/** The sample: points drawn by hand, then those of an example or a file, of which the first n are used. */
export class Sample {
  #drawn = [];
  #rest = new Float64Array();
  names = ["x", "y"];
  n = 0;

  get total() {
    return Math.min(MOST, this.#drawn.length / 2 + this.#rest.length / 2);
  }

  /** The points in use (2 n), in an array of their own. */
  get used() {
    return Float64Array.from([...this.#drawn, ...this.#rest].slice(0, 2 * this.n));
  }

  /** Starts anew from points (2 n) in random order, the first of which are used. */
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

  /** Removes the point drawn last; where none is left, the last one in use. */
  removeLast() {
    if (!this.n) return;
    if (this.#drawn.length) this.#drawn.length -= 2;
    else this.#rest = this.#rest.slice(0, 2 * (this.n - 1));
    this.n -= 1;
  }
}

/** Where the slider stands (0 to 1000) for n of so many points: it is logarithmic, from FEWEST on. */
export function sliderOf(n, total) {
  if (total <= FEWEST) return 1000;
  return (1000 * Math.log(Math.max(n, FEWEST) / FEWEST)) / Math.log(total / FEWEST);
}

/** How many of so many points a place of the slider means. */
export function numberAt(slider, total) {
  return Math.min(total, Math.round(FEWEST * (total / FEWEST) ** (slider / 1000)));
}

/** Why points (2 n) have no density, or null. The bounds are those of the Python package. */
export function troubleOf(points, names) {
  const n = points.length / 2;
  if (n < LEAST) {
    const more = LEAST - n;
    return `${n} point${n === 1 ? "" : "s"}: ${more} more ${more === 1 ? "is" : "are"} needed. An estimate starts from ${LEAST} points that are not on one line.`;
  }
  for (const axis of [0, 1]) {
    const [low, high] = range(points, axis);
    if (high - low <= 16 * Number.EPSILON * Math.max(Math.abs(low), Math.abs(high))) {
      return `${names[axis]} is constant (${low}): such data have no density. Add points that differ in ${names[axis]}, or choose another column.`;
    }
  }
  if (1 - Math.abs(correlation(points)) < 2e-14) {
    return `${names[0]} and ${names[1]} are collinear: all points are on one line, so they have no density in the plane. Add a point off it, or choose another column.`;
  }
  return null;
}

/** Causes of doubt about an estimate from n points, for a model that was trained on so many and more. */
export function doubtOf(n, least) {
  if (n < least)
    return `Fewer than ${least} points are outside what the model was trained on: take it as a guess.`;
  return null;
}

/** Smallest and largest value along an axis. */
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
