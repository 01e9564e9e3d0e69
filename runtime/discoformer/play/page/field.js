// Fields on a square grid: smooth interpolation, contour lines, and levels that enclose shares of the probability.

/** Resamples a grid (size^2, row by row) to side^2 nodes over the same square, by Catmull-Rom splines. */
export function resample(grid, size, side) {
  const weights = Array.from({ length: side }, (_, i) => splineWeights((i * (size - 1)) / (side - 1), size));
  const wide = new Float64Array(size * side);
  const fine = new Float64Array(side * side);
  for (let i = 0; i < side; i++) {
    for (const [k, weight] of weights[i]) {
      for (let row = 0; row < size; row++) wide[row * side + i] += weight * grid[row * size + k];
    }
  }
  for (let j = 0; j < side; j++) {
    for (const [k, weight] of weights[j]) {
      for (let i = 0; i < side; i++) fine[j * side + i] += weight * wide[k * side + i];
    }
  }
  return fine;
}

function splineWeights(at, size) {
  const k = Math.min(Math.floor(at), size - 2);
  const t = at - k;
  const weights = [
    [k - 1, (-t + 2 * t * t - t ** 3) / 2],
    [k, (2 - 5 * t * t + 3 * t ** 3) / 2],
    [k + 1, (t + 4 * t * t - 3 * t ** 3) / 2],
    [k + 2, (t ** 3 - t * t) / 2],
  ];
  return weights.map(([node, weight]) => [Math.max(0, Math.min(size - 1, node)), weight]);
}

/** The vector at (u, v) between the nodes of a grid of vectors (size^2, 2), by bilinear interpolation. */
export function between(grid, size, u, v) {
  const [i, j] = [u, v].map((at) => Math.min(Math.floor(at * (size - 1)), size - 2));
  const [s, t] = [u * (size - 1) - i, v * (size - 1) - j];
  const node = 2 * (j * size + i);
  return [0, 1].map(
    (axis) =>
      (1 - t) * ((1 - s) * grid[node + axis] + s * grid[node + 2 + axis]) +
      t * ((1 - s) * grid[node + 2 * size + axis] + s * grid[node + 2 * size + 2 + axis]),
  );
}

/** The levels of the log-density that enclose the given shares of the probability in the grid. */
export function levelsEnclosing(shares, logDensity) {
  const sorted = Float64Array.from(logDensity).sort().reverse();
  const densities = sorted.map((value) => Math.exp(value - sorted[0]));
  const total = densities.reduce((sum, density) => sum + density, 0);
  return shares.map((share) => {
    let left = share * total;
    const found = densities.findIndex((density) => (left -= density) <= 0);
    return sorted[found < 0 ? sorted.length - 1 : found];
  });
}

/** Line segments (u0, v0, u1, v1) of a contour of a grid (size^2), in unit coordinates, by marching squares. */
export function contour(grid, size, level) {
  const segments = [];
  for (let j = 0; j < size - 1; j++) {
    for (let i = 0; i < size - 1; i++) {
      const k = j * size + i;
      const above = grid[k] > level;
      if (
        above === grid[k + 1] > level &&
        above === grid[k + size] > level &&
        above === grid[k + size + 1] > level
      )
        continue;
      const crossings = crossingsOf(grid, size, i, j, level).flat();
      for (let end = 0; end < crossings.length; end += 4) segments.push(crossings.slice(end, end + 4));
    }
  }
  return segments;
}

/** The points at which the four sides of a cell cross a level. */
function crossingsOf(grid, size, i, j, level) {
  const corners = [
    [i, j],
    [i + 1, j],
    [i + 1, j + 1],
    [i, j + 1],
  ];
  const values = corners.map(([a, b]) => grid[b * size + a] - level);
  const found = [];
  corners.forEach(([a, b], side) => {
    const next = (side + 1) % 4;
    if (values[side] > 0 === values[next] > 0) return;
    const t = values[side] / (values[side] - values[next]);
    const [c, d] = corners[next];
    found.push([(a + t * (c - a)) / (size - 1), (b + t * (d - b)) / (size - 1)]);
  });
  return found;
}

/** The share of the probability in view that two answers have in common, 0 to 1; null if they have other grids. */
export function overlap(one, other) {
  if (!one || !other || one.size !== other.size || one.view !== other.view) return null;
  const [p, q] = [one, other].map(({ logDensity }) => {
    const top = logDensity.reduce((most, value) => Math.max(most, value), -Infinity);
    const densities = logDensity.map((value) => Math.exp(value - top));
    const total = densities.reduce((sum, density) => sum + density, 0);
    return densities.map((density) => density / total);
  });
  return p.reduce((sum, share, k) => sum + Math.min(share, q[k]), 0);
}
