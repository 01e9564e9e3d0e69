// Archives of plain arrays: NumPy's .npz, with a checksum of the whole file. See docs/saved_format.md.
//
// A file may come from anyone. So this reads no more than what it writes: entries that are not compressed, of arrays of
// float64, float32 and text, one after another, in a zip archive whose comment is the SHA-256 of all bytes before it.
// Sizes are compared before memory is taken.

import { requiredSha256 } from "./hash.js";

const LOCAL = 0x04034b50; // signatures of the parts of a zip archive
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const LARGE_END = 0x07064b50; // of archives above 4 GiB
const [LOCAL_SIZE, CENTRAL_SIZE, END_SIZE] = [30, 46, 22]; // bytes of the parts, without names and contents
const DIGEST = 64; // characters of the checksum
const MOST_ENTRIES = 64;
const MOST_DIRECTORY = 2 ** 14;
const JANUARY_1980 = 0x00210000; // the time of all entries: the same estimate gives the same bytes
const ALIGNED = 64; // the header of an array ends at a multiple of this
const TYPES = { "<f4": Float32Array, "<f8": Float64Array };

const ascii = new TextEncoder();
const readAscii = new TextDecoder();
const MAGIC = Uint8Array.of(0x93, ...ascii.encode("NUMPY"), 1, 0); // the first bytes of an array, of version 1.0

/** An archive of entries by name: { data, shape }, or text. */
export async function writeArchive(entries) {
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [name, value] of Object.entries(entries)) {
    const content = typeof value === "string" ? npyOfText(value) : npyOf(value);
    const file = ascii.encode(`${name}.npy`);
    const shared = [20, 0, 0, JANUARY_1980, crc32(content), content.length, content.length, file.length, 0];
    parts.push(header([LOCAL, ...shared], "4222444422"), file, content);
    directory.push(header([CENTRAL, 20, ...shared, 0, 0, 0, 0, offset], "42222444422222" + "44"), file);
    offset += LOCAL_SIZE + file.length + content.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const count = directory.length / 2;
  const body = joined([...parts, ...directory, header([END, 0, 0, count, count, size, offset, DIGEST], "42222442")]);
  return joined([body, ascii.encode(await requiredSha256(body))]);
}

/** The entries of an archive by name, as `writeArchive` takes them. Throws whatever is wrong with it. */
export async function readArchive(bytes) {
  const body = bytes.subarray(0, Math.max(0, bytes.length - DIGEST));
  const view = viewOf(body);
  const end = body.length - END_SIZE;
  if (end < 0 || view.getUint32(end, true) !== END) {
    throw new RangeError("it has no checksum at its end: it is cut short, or from an older version");
  }
  if ((await requiredSha256(body)) !== readAscii.decode(bytes.subarray(body.length))) {
    throw new RangeError("its checksum is that of another content");
  }
  const [count, size, start] = [view.getUint16(end + 10, true), view.getUint32(end + 12, true), view.getUint32(end + 16, true)];
  const isLarge = end >= 20 && view.getUint32(end - 20, true) === LARGE_END;
  if (size > MOST_DIRECTORY || isLarge) throw new RangeError("its directory is too large");
  if (count > MOST_ENTRIES) throw new RangeError(`${count} entries`);
  if (start + size !== end) throw new RangeError("its directory is not at its end");
  return entriesOf(body, view, count, start, end);
}

function entriesOf(body, view, count, start, end) {
  const found = new Map();
  let at = start;
  let total = 0;
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_SIZE > end || view.getUint32(at, true) !== CENTRAL) throw new RangeError("its directory is damaged");
    if (view.getUint16(at + 10, true) !== 0) throw new RangeError("its entries are compressed");
    const [size, offset] = [view.getUint32(at + 24, true), view.getUint32(at + 42, true)];
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const file = readAscii.decode(body.subarray(at + CENTRAL_SIZE, at + CENTRAL_SIZE + name)).replace(/\.npy$/, "");
    at += CENTRAL_SIZE + name + extra + comment;
    total += size;
    if (found.has(file) || total > body.length) throw new RangeError("its entries overlap, or have the same name");
    if (offset + LOCAL_SIZE > start || view.getUint32(offset, true) !== LOCAL) throw new RangeError(`${file} is damaged`);
    const from = offset + LOCAL_SIZE + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
    if (from + size > start) throw new RangeError(`${file} is cut short`);
    found.set(file, arrayOf(file, body.subarray(from, from + size)));
  }
  return Object.fromEntries(found);
}

/** The array in an NPY file of version 1.0: { data, shape }, or a text. */
function arrayOf(name, content) {
  if (MAGIC.some((byte, i) => byte !== content[i])) throw new RangeError(`${name} is no array`);
  const start = 10 + viewOf(content).getUint16(8, true);
  const header = readAscii.decode(content.subarray(10, start));
  const found = /^\{'descr': '([<|>=]?[a-zA-Z]\d+)', 'fortran_order': (True|False), 'shape': \(([\d, ]*)\), \}\s*$/.exec(header);
  if (!found) throw new RangeError(`${name} has the header ${header.slice(0, 80)}`);
  const [, type, byColumns, sizes] = found;
  const shape = sizes.split(",").filter((size) => size.trim()).map(Number);
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = new Uint8Array(content.subarray(start)); // a copy: its memory is aligned
  if (/^<U\d+$/.test(type) && !shape.length) return textOf(name, bytes, Number(type.slice(2)));
  const kind = TYPES[type];
  if (!kind) throw new RangeError(`an array of ${type}`);
  if (bytes.length !== count * kind.BYTES_PER_ELEMENT) throw new RangeError(`${name} has ${bytes.length} bytes`);
  const data = new kind(bytes.buffer, 0, count);
  return { data: byColumns === "True" && shape.length > 1 ? byRows(data, shape) : data, shape };
}

/** An array that lies in memory by columns, by rows. */
function byRows(data, shape) {
  const found = new data.constructor(data.length);
  const index = new Array(shape.length).fill(0);
  for (let from = 0; from < data.length; from++) {
    let to = 0;
    for (let axis = 0; axis < shape.length; axis++) to = to * shape[axis] + index[axis];
    found[to] = data[from];
    for (let axis = 0; axis < shape.length; axis++) {
      if (++index[axis] < shape[axis]) break;
      index[axis] = 0;
    }
  }
  return found;
}

function textOf(name, bytes, length) {
  if (bytes.length !== 4 * length) throw new RangeError(`${name} has ${bytes.length} bytes`);
  let text = "";
  for (const code of new Uint32Array(bytes.buffer)) text += code ? String.fromCodePoint(code) : "";
  return text;
}

function npyOf({ data, shape }) {
  const type = data instanceof Float32Array ? "<f4" : "<f8";
  return npy(type, shape, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
}

function npyOfText(text) {
  const codes = Uint32Array.from(text, (letter) => letter.codePointAt(0));
  return npy(`<U${codes.length}`, [], new Uint8Array(codes.buffer));
}

function npy(type, shape, content) {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${type}', 'fortran_order': False, 'shape': (${sizes}), }`;
  const size = Math.ceil((10 + text.length + 1) / ALIGNED) * ALIGNED - 10;
  return joined([MAGIC, Uint8Array.of(size & 255, size >> 8), ascii.encode(`${text.padEnd(size - 1)}\n`), content]);
}

/** Numbers of 2 or 4 bytes each, as `sizes` says, the lowest byte first. */
function header(values, sizes) {
  const view = new DataView(new ArrayBuffer([...sizes].reduce((sum, size) => sum + Number(size), 0)));
  let at = 0;
  values.forEach((value, i) => {
    if (sizes[i] === "2") view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += Number(sizes[i]);
  });
  return new Uint8Array(view.buffer);
}

function joined(parts) {
  const found = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    found.set(part, at);
    at += part.length;
  }
  return found;
}

const viewOf = (bytes) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
