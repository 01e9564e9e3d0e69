// The view: the rectangle of the plane that both panels show. Unit coordinates (u, v) run from 0 to 1, v upwards.

import { range } from "./sample.js";

export class View {
  constructor(x0, x1, y0, y1) {
    Object.assign(this, { x0, x1, y0, y1 });
    Object.freeze(this);
  }

  get width() {
    return this.x1 - this.x0;
  }

  get height() {
    return this.y1 - this.y0;
  }

  /** A view of points (2 n). `equal`: whether both axes have the same scale. A few far points may be outside. */
  static around(points, equal) {
    let ends = [0, 1].map((axis) => padded(bulk(points, axis)));
    if (equal) {
      const half = Math.max(...ends.map(([low, high]) => high - low)) / 2;
      ends = ends.map(([low, high]) => [(low + high) / 2 - half, (low + high) / 2 + half]);
    }
    return new View(...ends[0], ...ends[1]);
  }

  /** The view with the same centre and `factor` times the width and height. */
  zoomed(factor) {
    const [x, y] = this.toData(0.5, 0.5);
    const [w, h] = [(this.width * factor) / 2, (this.height * factor) / 2];
    return new View(x - w, x + w, y - h, y + h);
  }

  toUnit(x, y) {
    return [(x - this.x0) / this.width, (y - this.y0) / this.height];
  }

  toData(u, v) {
    return [this.x0 + u * this.width, this.y0 + v * this.height];
  }

  /** The nodes of a square grid, edges included: points (2 size^2), row by row upwards. */
  nodes(size) {
    const points = new Float64Array(2 * size * size);
    for (let k = 0; k < size * size; k++) {
      points.set(this.toData((k % size) / (size - 1), Math.floor(k / size) / (size - 1)), 2 * k);
    }
    return points;
  }
}

/** Round numbers from low to high, `about` as many as given. */
export function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((times) => times * power >= 0.75 * rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

function padded([low, high]) {
  const width = high - low || Math.abs(low) || 1;
  return [low - 0.14 * width, high + 0.14 * width];
}

/** The range along an axis; without the outer 2 % of the points if these would more than double it. */
function bulk(points, axis) {
  const values = Float64Array.from({ length: points.length / 2 }, (_, i) => points[2 * i + axis]).sort();
  const at = (share) => values[Math.round(share * (values.length - 1))];
  const [low, high] = range(points, axis);
  const [first, last] = [at(0.01), at(0.99)];
  return values.length >= 50 && high - low > 2 * (last - first) && last > first ? [first, last] : [low, high];
}
