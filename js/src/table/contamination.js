// Contamination of a sample: rows far out, copies, and codes for missing values. They are found, and told.
//
// Rows far out are left out of the reading. Copies count once in the effective size. Codes are told, no more.

import { column, greatest, kish, least, range, sum, taken, takenRows } from "../order.js";
import { describeColumn, general } from "../text.js";
import { codesIn } from "./codes.js";
import { findDuplicates } from "./duplicates.js";
import { FAR, outlying } from "./outlying.js";

const NAMED = 5; // most rows, columns or codes that a message names
const OUTSIDE = 10; // a message names the columns that are so many ranges of the other rows off

/**
 * Leaves out rows far out, and counts copies once in the effective size, unless it is given.
 *
 * Points (n, D) are sorted, with weights (n) of sum 1; `rows` (n) are their numbers in the table of the user.
 * `effectiveSize` is null for Kish's. Returns the points that stay, their weights, and what was found.
 */
export function clean(points, dim, w, effectiveSize, rows, columns) {
  const found = { leftOut: 0, copied: 0, tied: 0, codes: "", doubts: [], doubtOfTies: "" };
  if (!w.length) return { points, weights: w, effectiveSize, found };
  found.codes = describeCodes(points, dim, rows, columns);
  const out = outlying(points, dim, w, effectiveSize ?? kish(w));
  if (out.some(Boolean)) {
    found.leftOut = sum(w.filter((_, i) => out[i]));
    found.doubts.push(describeRowsFarOut(points, dim, out, rows, columns));
    const kept = range(w.length).filter((i) => !out[i]);
    const total = sum(taken(w, kept));
    [points, rows] = [takenRows(points, dim, kept), kept.map((i) => rows[i])];
    w = taken(w, kept).map((value) => value / total);
    if (effectiveSize !== null) effectiveSize = Math.max(1, (1 - found.leftOut) * effectiveSize);
  }
  const duplicates = effectiveSize === null ? findDuplicates(points, dim, w) : null;
  if (duplicates) {
    const share = duplicates.rows.length / w.length;
    effectiveSize = duplicates.size;
    const told = describeDuplicates(duplicates, rows);
    if (effectiveSize === null) [found.tied, found.doubtOfTies] = [share, told];
    else {
      found.copied = share;
      found.doubts.push(told);
    }
  }
  if (found.codes) {
    found.doubts.push(
      `X has values that look like codes for missing values: ${found.codes}. Replace them by NaN and pass ` +
        "missing='drop', or leave these rows out.",
    );
  }
  return { points, weights: w, effectiveSize, found };
}

function describeRowsFarOut(points, dim, out, rows, columns) {
  const named = [];
  for (let j = 0; j < dim; j++) {
    const values = column(points, dim, j);
    const kept = values.filter((_, i) => !out[i]);
    const [low, high] = [least(kept), greatest(kept)];
    const off = greatest(values.filter((_, i) => out[i]).map((value) => Math.max(low - value, value - high)));
    if (off > OUTSIDE * (high - low)) named.push(describeColumn(j, columns));
  }
  const where = named.length ? `, with values far from the others in ${list(named)}` : "";
  const left = rows.filter((_, i) => out[i]);
  return (
    `Left out ${left.length} of ${out.length} rows of X, which lie more than ${general(FAR)} times as far out as the ` +
    `central three quarters: ${numbers(left)}${where}. Correct or remove them.`
  );
}

function describeDuplicates({ rows: places, size }, rows) {
  const repeated = places.map((i) => rows[i]);
  const which = `${places.length} of ${rows.length} rows of X repeat others (${numbers(repeated)})`;
  if (size === null) {
    return `${which}. If they are rounded, pass rounding={column: step}. If they are copies, drop them.`;
  }
  return (
    `${which}, though values are not rounded. They count as copies: the effective size is ${general(size, 4)}. ` +
    "Drop the copies, or pass effective_size if they were measured apart."
  );
}

function describeCodes(points, dim, rows, columns) {
  const named = codesIn(points, dim).map(([j, value]) => {
    const where = rows.filter((_, i) => points[i * dim + j] === value);
    return `${general(value, 10)} in ${describeColumn(j, columns)} (${numbers(where)})`;
  });
  return list(named);
}

const numbers = (rows) =>
  `row${rows.length > 1 ? "s" : ""} ${list(Array.from(rows).sort((a, b) => a - b).map(String))}`;

/** The first few names, and how many more there are. */
function list(names) {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
