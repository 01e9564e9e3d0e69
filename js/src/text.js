// Numbers as Python writes them, so that messages are the same in both languages.

/** A number with up to so many significant digits: Python's format "g". */
export function general(value, digits = 6) {
  if (!Number.isFinite(value)) return plain(value);
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, power] = value.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  if (exponent < -4 || exponent >= digits) return `${stripped(mantissa)}e${exponentText(exponent)}`;
  return stripped(value.toFixed(Math.max(0, digits - 1 - exponent)));
}

/** A number with a power of ten: Python's format "e". */
export function exponential(value, digits) {
  const [mantissa, power] = value.toExponential(digits).split("e");
  return `${mantissa}e${exponentText(Number(power))}`;
}

/** A share in percent, with one digit after the point. */
export const percent = (share) => `${(100 * share).toFixed(1)}%`;

/** A number as Python's str gives it, in the cases that messages have. */
export function plain(value) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  return String(value);
}

/** A value as messages show it: a long one is cut. */
export function shown(value) {
  const text =
    typeof value === "string" ? `'${value}'` : typeof value === "number" ? plain(value) : described(value);
  return text.length <= 80 ? text : `${text.slice(0, 80)}...`;
}

/** A shape as Python writes a tuple. */
export const tuple = (shape) => (shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`);

/** How messages refer to a column: by its index, and by its name if it has one. */
export const describeColumn = (index, columns) =>
  columns ? `column ${index} ('${columns[index]}')` : `column ${index}`;

function described(value) {
  if (value === null || ["undefined", "boolean", "bigint"].includes(typeof value)) return String(value);
  if (typeof value === "function") return "a function";
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name} of ${value.length} values`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return `a ${value.constructor?.name ?? typeof value}`;
  }
}

const stripped = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

function exponentText(power) {
  const size = String(Math.abs(power)).padStart(2, "0");
  return `${power < 0 ? "-" : "+"}${size}`;
}
