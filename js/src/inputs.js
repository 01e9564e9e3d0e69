// Arguments, read and checked: matrices, weights, numbers.

import { InputError } from "./errors.js";
import { describeColumn, general, plain, shown, tuple } from "./text.js";

/**
 * Reads a matrix: nested arrays, or { data, shape: [rows, columns] } with a flat array by rows.
 *
 * Returns { values, rows, dim, width }: a Float64Array by rows, and the class of the answers, Float32Array if the matrix
 * is one. NaN stands for a missing entry, if these are allowed.
 */
export function readMatrix(name, given, { missing = false, columns = null } = {}) {
  const { flat, rows, dim } = isShaped(given) ? readShaped(name, given) : readNested(name, given, columns);
  if (dim === 0) {
    throw new InputError(`${name} must have shape (rows, columns) with 1 column or more, got ${tuple([rows, dim])}`);
  }
  const values = flat instanceof Float64Array ? flat : numbersOf(name, flat, dim, columns);
  checkFinite(name, values, rows, dim, missing, columns);
  return { values, rows, dim, width: flat instanceof Float32Array ? Float32Array : Float64Array };
}

const isShaped = (given) => given !== null && typeof given === "object" && "data" in given && "shape" in given;

function readShaped(name, { data, shape }) {
  const fits = Array.isArray(shape) && shape.every((size) => Number.isInteger(size) && size >= 0);
  if (!fits) throw new InputError(`${name}.shape must be [rows, columns], got ${shown(shape)}`);
  if (shape.length !== 2) throw wrongShape(name, shape);
  if (!(Array.isArray(data) || isTyped(data))) {
    throw new InputError(`${name}.data must be a flat array of numbers, by rows, got ${shown(data)}`);
  }
  const [rows, dim] = shape;
  if (data.length !== rows * dim) {
    throw new InputError(
      `${name}.data must have ${rows * dim} values, as ${name}.shape ${tuple(shape)} says, got ${data.length}`,
    );
  }
  return { flat: data, rows, dim };
}

function readNested(name, given, columns) {
  if (isTyped(given)) {
    throw new InputError(
      `${name} must have shape (rows, columns), got ${tuple([given.length])}: pass {data, shape: [rows, columns]}`,
    );
  }
  if (!Array.isArray(given)) {
    throw new InputError(
      `${name} must be an array-like, got ${shown(given)}: pass nested arrays, or {data, shape: [rows, columns]}`,
    );
  }
  const rows = given.length;
  const isRow = (row) => Array.isArray(row) || isTyped(row);
  if (!rows || !given.some(isRow)) throw wrongShape(name, [rows]);
  const dim = isRow(given[0]) ? given[0].length : NaN;
  const odd = given.findIndex((row) => !isRow(row) || row.length !== dim);
  if (odd >= 0) {
    const size = (row) => (isRow(row) ? `${row.length} values` : shown(row));
    throw new InputError(
      `${name} must have rows of one length, got ${size(given[0])} in row 0 and ${size(given[odd])} in row ${odd}`,
    );
  }
  if (dim && given.every((row) => row instanceof Float32Array)) {
    const flat = new Float32Array(rows * dim);
    given.forEach((row, i) => flat.set(row, i * dim));
    return { flat, rows, dim };
  }
  const flat = new Array(rows * dim);
  given.forEach((row, i) => {
    for (let j = 0; j < dim; j++) flat[i * dim + j] = row[j];
  });
  return { flat: numbersOf(name, flat, dim, columns), rows, dim };
}

const isTyped = (given) => ArrayBuffer.isView(given) && !(given instanceof DataView);

function wrongShape(name, shape) {
  const hint =
    shape.length === 1
      ? `: pass ${name}.map((x) => [x]) for points in one dimension, [${name}] for a single point`
      : "";
  return new InputError(`${name} must have shape (rows, columns), got ${tuple(shape)}${hint}`);
}

function numbersOf(name, flat, dim, columns) {
  const values = new Float64Array(flat.length);
  for (let i = 0; i < flat.length; i++) {
    const value = flat[i];
    if (typeof value === "number") values[i] = value;
    else if (typeof value === "bigint" || typeof value === "boolean") values[i] = Number(value);
    else {
      const where = `row ${Math.floor(i / dim)}, ${describeColumn(i % dim, columns)}`;
      throw new InputError(
        `${name} must hold real numbers only, got ${shown(value)} in ${where}: leave the column out, or encode it as ` +
          "numbers",
      );
    }
  }
  return values;
}

function checkFinite(name, values, rows, dim, missing, columns) {
  const isBad = missing ? (value) => Math.abs(value) === Infinity : (value) => !Number.isFinite(value);
  const first = values.findIndex(isBad);
  if (first < 0) return;
  let affected = 0;
  for (let i = 0; i < rows; i++) if (values.subarray(i * dim, (i + 1) * dim).some(isBad)) affected++;
  throw new InputError(
    `${name} must be finite, got ${plain(values[first])} in row ${Math.floor(first / dim)}, ` +
      `${describeColumn(first % dim, columns)}; ${affected} of ${rows} rows are affected: drop or impute them`,
  );
}

/** Reads weights (rows): finite, not negative, not all zero. */
export function readWeights(weights, rows) {
  if (!(Array.isArray(weights) || isTyped(weights))) {
    throw new InputError(`weights must be an array-like, got ${shown(weights)}: pass an array of numbers`);
  }
  if (weights.length !== rows) {
    throw new InputError(
      `weights must have shape ${tuple([rows])}, one for each row of X, got ${tuple([weights.length])}`,
    );
  }
  const values = Float64Array.from(weights, (value) => (typeof value === "number" ? value : NaN));
  const bad = Array.from(values.keys()).filter((i) => !(Number.isFinite(values[i]) && values[i] >= 0));
  if (bad.length) {
    throw new InputError(
      `weights must be finite and not negative, got ${pythonFloat(values[bad[0]])} in row ${bad[0]}` +
        `${bad.length > 1 ? ` (${bad.length} such rows)` : ""}: use 0 to ignore a row`,
    );
  }
  if (!values.some(Boolean)) {
    throw new InputError("weights must not all be zero: give at least one row a positive weight");
  }
  return values;
}

const pythonFloat = (value) => (Number.isInteger(value) ? `${value}.0` : plain(value));

/** Reads an effective size: a number from 1 to 1e12, or null. */
export function readEffectiveSize(value) {
  if (value === undefined || value === null) return null;
  if (!(typeof value === "number" && value >= 1 && value <= 1e12)) {
    throw new InputError(`effective_size must be a number from 1 to ${general(1e12)}, got ${shown(value)}`);
  }
  return value;
}

/** Checks that a value is a whole number of `least` or more. */
export function wholeNumber(name, value, least) {
  if (!(Number.isSafeInteger(value) && value >= least)) {
    throw new InputError(`${name} must be a whole number, ${least} or more, got ${shown(value)}`);
  }
  return value;
}

/** Reads the names of columns, or null. */
export function readColumns(columns, dim) {
  if (columns === undefined || columns === null) return null;
  if (!(Array.isArray(columns) && columns.length === dim && columns.every((name) => typeof name === "string"))) {
    throw new InputError(`columns must be ${dim} names, one for each column of X, got ${shown(columns)}`);
  }
  return [...columns];
}

/** Raises the reason of a signal that has been aborted. */
export const checkSignal = (signal) => signal?.throwIfAborted();
