// Numbers as text.

const grouped = new Intl.NumberFormat("en-US");

/** A count, with commas. */
export const count = (n) => grouped.format(n);

/** A number with about `digits` digits and a true minus sign; with a power of ten if it is very large or small. */
export function short(value, digits = 4) {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "–";
  const size = Math.abs(value);
  let text;
  if (size === 0) text = "0";
  else if (size >= 1e5 || size < 1e-3) {
    const [mantissa, power] = value.toExponential(digits - 2).split("e");
    text = `${mantissa}·10${superscript(Number(power))}`;
  } else {
    text = value.toFixed(Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  }
  return text.replace("-", "−");
}

/** The label of a tick of an axis, with as few digits as distinguish it from its neighbours. */
export function tickLabel(value, step) {
  if (Math.abs(value) < step / 1e6) return "0";
  const size = Math.max(Math.abs(value), step);
  const text =
    size >= 1e5 || step < 1e-3
      ? Number(value.toPrecision(6)).toExponential()
      : value.toFixed(Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  return text.replaceAll("-", "−").replace("e+", "e");
}

/** A duration given in milliseconds. */
export const duration = (ms) =>
  ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`;

function superscript(power) {
  return [...String(power)].map((digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])).join("");
}
