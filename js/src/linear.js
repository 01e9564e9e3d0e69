// Linear algebra of small matrices, D x D, each a Float64Array by rows.

const SWEEPS = 60; // most sweeps of Jacobi's method; it needs about ten

export function identity(dim) {
  const found = new Float64Array(dim * dim);
  for (let i = 0; i < dim; i++) found[i * (dim + 1)] = 1;
  return found;
}

/** The product (rows, columns) of matrices (rows, inner) and (inner, columns). */
export function product(a, b, inner) {
  const rows = a.length / inner;
  const columns = b.length / inner;
  const found = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    const at = i * columns;
    for (let k = 0; k < inner; k++) {
      const factor = a[i * inner + k];
      if (factor === 0) continue;
      const from = k * columns;
      for (let j = 0; j < columns; j++) found[at + j] += factor * b[from + j];
    }
  }
  return found;
}

export function transposed(matrix, columns) {
  const rows = matrix.length / columns;
  const found = new Float64Array(matrix.length);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) found[j * rows + i] = matrix[i * columns + j];
  }
  return found;
}

export function trace(matrix, dim) {
  let sum = 0;
  for (let i = 0; i < dim; i++) sum += matrix[i * (dim + 1)];
  return sum;
}

/** The sum of the logarithms of the absolute values on the diagonal. */
export function logDiagonal(matrix, dim) {
  let sum = 0;
  for (let i = 0; i < dim; i++) sum += Math.log(Math.abs(matrix[i * (dim + 1)]));
  return sum;
}

/** The lower triangular L with L L^T = matrix, or null if the matrix is not positive definite. */
export function cholesky(matrix, dim) {
  const root = new Float64Array(dim * dim);
  for (let i = 0; i < dim; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * dim + j];
      for (let k = 0; k < j; k++) sum -= root[i * dim + k] * root[j * dim + k];
      if (i !== j) root[i * dim + j] = sum / root[j * (dim + 1)];
      else if (sum > 0 && sum < Infinity) root[i * (dim + 1)] = Math.sqrt(sum);
      else return null;
    }
  }
  return root;
}

/** The inverse of a lower triangular matrix. */
export function inverseRoot(root, dim) {
  const found = new Float64Array(dim * dim);
  for (let j = 0; j < dim; j++) {
    found[j * (dim + 1)] = 1 / root[j * (dim + 1)];
    for (let i = j + 1; i < dim; i++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum += root[i * dim + k] * found[k * dim + j];
      found[i * dim + j] = -sum / root[i * (dim + 1)];
    }
  }
  return found;
}

/** The upper triangular L^-T for a matrix L L^T: it maps that scatter to the identity. */
export function inverseFactor(matrix, dim) {
  const root = cholesky(matrix, dim);
  if (root === null) throw new RangeError("the matrix is not positive definite");
  return transposed(inverseRoot(root, dim), dim);
}

/** The matrix B with A B = columns, for a general A (dim, dim) and columns (dim, n): Gauss with partial pivots. */
export function solved(matrix, columns, dim) {
  const n = columns.length / dim;
  const a = Float64Array.from(matrix);
  const b = Float64Array.from(columns);
  for (let k = 0; k < dim; k++) {
    let pivot = k;
    for (let i = k + 1; i < dim; i++) if (Math.abs(a[i * dim + k]) > Math.abs(a[pivot * dim + k])) pivot = i;
    if (pivot !== k) {
      swapRows(a, k, pivot, dim);
      swapRows(b, k, pivot, n);
    }
    for (let i = k + 1; i < dim; i++) {
      const factor = a[i * dim + k] / a[k * (dim + 1)];
      if (factor === 0) continue;
      for (let j = k; j < dim; j++) a[i * dim + j] -= factor * a[k * dim + j];
      for (let j = 0; j < n; j++) b[i * n + j] -= factor * b[k * n + j];
    }
  }
  for (let i = dim - 1; i >= 0; i--) {
    for (let j = 0; j < n; j++) {
      let sum = b[i * n + j];
      for (let k = i + 1; k < dim; k++) sum -= a[i * dim + k] * b[k * n + j];
      b[i * n + j] = sum / a[i * (dim + 1)];
    }
  }
  return b;
}

/** Eigenvalues, ascending, and eigenvectors, in columns, of a symmetric matrix: Jacobi's method, by sweeps. */
export function eigen(matrix, dim) {
  const a = Float64Array.from(matrix);
  const vectors = identity(dim); // one in each row
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let turned = false;
    for (let p = 0; p < dim - 1; p++) {
      for (let q = p + 1; q < dim; q++) turned = turn(a, vectors, p, q, dim) || turned;
    }
    if (!turned) break;
  }
  const order = Array.from({ length: dim }, (_, i) => i).sort((i, j) => a[i * (dim + 1)] - a[j * (dim + 1)]);
  const sorted = new Float64Array(dim * dim);
  order.forEach((from, to) => {
    for (let i = 0; i < dim; i++) sorted[i * dim + to] = vectors[from * dim + i];
  });
  return { values: Float64Array.from(order, (i) => a[i * (dim + 1)]), vectors: sorted };
}

/** One rotation in the plane of two axes, which sets an entry to 0; false if it is 0 up to rounding. */
function turn(a, vectors, p, q, dim) {
  const entry = a[p * dim + q];
  const [first, last] = [a[p * (dim + 1)], a[q * (dim + 1)]];
  if (Math.abs(entry) <= Number.EPSILON * 0.5 * Math.sqrt(Math.abs(first * last)) || entry === 0) return false;
  const theta = (last - first) / (2 * entry);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
  const c = 1 / Math.sqrt(t * t + 1);
  const s = t * c;
  for (let k = 0; k < dim; k++) {
    const [x, y] = [a[k * dim + p], a[k * dim + q]];
    a[k * dim + p] = c * x - s * y;
    a[k * dim + q] = s * x + c * y;
  }
  for (const rows of [a, vectors]) {
    for (let k = 0; k < dim; k++) {
      const [x, y] = [rows[p * dim + k], rows[q * dim + k]];
      rows[p * dim + k] = c * x - s * y;
      rows[q * dim + k] = s * x + c * y;
    }
  }
  a[p * dim + q] = a[q * dim + p] = 0;
  return true;
}

function swapRows(matrix, i, j, columns) {
  for (let k = 0; k < columns; k++) {
    [matrix[i * columns + k], matrix[j * columns + k]] = [matrix[j * columns + k], matrix[i * columns + k]];
  }
}
