// A sample as the fragment of a link, "points=1.BYTES": the version of the format, and bytes in base64url.
//
//   u16    n
//   u8     bytes of a coordinate: 2 or 4
//   8 f64  least and greatest x, least and greatest y of the points; x0, x1, y0, y1 of the view
//   twice  u8 length and UTF-8 of the name of an axis
//   2 n    coordinates x0, y0, x1, y1, ...: unsigned, 0 is the least value of the axis and the highest number the greatest
//   u32    checksum (FNV-1a) of everything before
//
// Numbers are little-endian. Two bytes are used if they move no point by more than a 2,000th of the width of the
// middle half of the points, along each axis.

import { MOST, range } from "./sample.js";

const START = "points=";
const VERSION = "1";
const LONGEST_NAME = 64; // bytes
const HEAD = 2 + 1 + 64;
const GREATEST = HEAD + 2 * (1 + LONGEST_NAME) + 8 * MOST + 4; // bytes
const BEST_STEP = 1 / 1000; // of the middle half of the points

/** Whether a fragment is a link to points, of any version. */
export const isLink = (fragment) => fragment.startsWith(START);

/** The fragment for points (2 n), the names of the axes, and a view { x0, x1, y0, y1 }. */
export function encodeLink({ points, names, view }) {
  const n = points.length / 2;
  const ends = [0, 1].map((axis) => range(points, axis));
  const width = [0, 1].every((axis) => isCoarseEnough(points, axis, ends[axis])) ? 2 : 4;
  const texts = names.map((name) => {
    const text = new Uint8Array(LONGEST_NAME);
    return text.subarray(0, new TextEncoder().encodeInto(name, text).written);
  });
  const bytes = new Uint8Array(HEAD + 2 + texts[0].length + texts[1].length + 2 * n * width + 4);
  const writer = new Cursor(bytes);
  writer.put("Uint16", n);
  writer.put("Uint8", width);
  for (const value of [...ends.flat(), view.x0, view.x1, view.y0, view.y1]) writer.put("Float64", value);
  for (const text of texts) {
    writer.put("Uint8", text.length);
    for (const byte of text) writer.put("Uint8", byte);
  }
  points.forEach((value, k) => {
    const [low, high] = ends[k % 2];
    const share = high > low ? (value / 2 - low / 2) / (high / 2 - low / 2) : 0;
    writer.put(`Uint${8 * width}`, Math.round(share * highest(width)));
  });
  writer.put("Uint32", checksum(bytes.subarray(0, -4)));
  const text = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return `${START}${VERSION}.${text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`;
}

/**
 * What a fragment holds: { points, names, view }, as given to `encodeLink`.
 *
 * Throws an error if it is of another version, damaged, or holds more than the page can show.
 */
export function decodeLink(fragment) {
  const [, version, text] = fragment.slice(START.length).match(/^([^.]*)\.?(.*)$/s);
  if (version !== VERSION) {
    throw new Error(`It has format ${version || "without a number"}, and this page reads format ${VERSION}: open it in another version of the page.`);
  }
  if (text.length > (4 * GREATEST) / 3 + 2) throw new Error(`It is longer than a link to ${MOST} points, which is the limit.`);
  const bytes = bytesOf(text);
  const reader = new Cursor(bytes);
  need(bytes.length > HEAD + 4 && new Cursor(bytes.subarray(-4)).get("Uint32") === checksum(bytes.subarray(0, -4)));
  const [n, width] = [reader.get("Uint16"), reader.get("Uint8")];
  const numbers = Array.from({ length: 8 }, () => reader.get("Float64"));
  need(n >= 1 && n <= MOST && (width === 2 || width === 4) && numbers.every(Number.isFinite));
  const [ends, [x0, x1, y0, y1]] = [[numbers.slice(0, 2), numbers.slice(2, 4)], numbers.slice(4)];
  need(ends.every(([low, high]) => low <= high) && isWide(x0, x1) && isWide(y0, y1));
  const names = [0, 1].map(() => reader.text());
  need(bytes.length === reader.at + 2 * n * width + 4);
  const points = Float64Array.from({ length: 2 * n }, (_, k) => {
    const share = reader.get(`Uint${8 * width}`) / highest(width);
    const [low, high] = ends[k % 2];
    return low * (1 - share) + high * share;
  });
  return { points, names, view: { x0, x1, y0, y1 } };
}

/** Reads and writes numbers at a position in bytes that goes forwards. */
class Cursor {
  at = 0;

  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  put(kind, value) {
    this.view[`set${kind}`](this.at, value, true);
    this.at += SIZES[kind];
  }

  get(kind) {
    need(this.at + SIZES[kind] <= this.bytes.length);
    this.at += SIZES[kind];
    return this.view[`get${kind}`](this.at - SIZES[kind], true);
  }

  /** A text of at most LONGEST_NAME bytes, with its length before it. */
  text() {
    const length = this.get("Uint8");
    need(length <= LONGEST_NAME && this.at + length <= this.bytes.length);
    this.at += length;
    return new TextDecoder().decode(this.bytes.subarray(this.at - length, this.at));
  }
}

const SIZES = { Uint8: 1, Uint16: 2, Uint32: 4, Float64: 8 };

const highest = (width) => 256 ** width - 1;

const isWide = (low, high) => low < high && Number.isFinite(high - low);

function need(holds) {
  if (!holds) throw new Error("It is damaged or cut: copy it again, as a whole.");
}

function bytesOf(text) {
  need(/^[\w-]*$/.test(text) && text.length % 4 !== 1);
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}

/** Whether steps of two bytes are small beside the middle half of the values of an axis. */
function isCoarseEnough(points, axis, [low, high]) {
  const values = Float64Array.from({ length: points.length / 2 }, (_, i) => points[2 * i + axis]).sort();
  const at = (share) => values[Math.round(share * (values.length - 1))];
  return high / highest(2) - low / highest(2) <= BEST_STEP * (at(0.75) - at(0.25));
}

function checksum(bytes) {
  let hash = 0x811c9dc5;
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
