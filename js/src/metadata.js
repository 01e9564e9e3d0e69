// What the file of a model says about itself: the metadata of an ONNX file, read from its bytes.
//
// The file is a message of protocol buffers: keys, each a field number and a wire type, and values. Metadata are the
// fields 14, each a message of a key (1) and a value (2). All other fields are skipped.

import { ModelError } from "./errors.js";

const PROPERTIES = 14;
const COUNTS = ["dim_min", "dim_max", "context_min", "context_max"].map((name) => `trained_${name}`);

export class Metadata {
  /** Reads the metadata of a file. */
  constructor(bytes) {
    const entries = entriesOf(bytes);
    for (const key of ["name", "version", "licence", "weights_sha256"]) {
      if (!entries[key]) throw unusable(`the entry ${key} is missing`);
    }
    for (const key of [...COUNTS, "landmarks"]) {
      if (!/^[1-9]\d{0,11}$/.test(entries[key] ?? "")) throw unusable(`${key} is ${entries[key]}`);
    }
    this.name = entries.name;
    this.version = entries.version;
    this.licence = entries.licence;
    this.landmarks = Number(entries.landmarks);
    const [least, most, fewest, greatest] = COUNTS.map((key) => Number(entries[key]));
    this.trainedDim = [least, most];
    this.trainedContext = [fewest, greatest];
  }

  /** One sentence for each trained range that n rows and dim columns are outside of. */
  outOfRange(n, dim) {
    const sizes = [
      ["rows", n, this.trainedContext],
      ["columns", dim, this.trainedDim],
    ];
    return sizes
      .filter(([, size, [low, high]]) => size < low || size > high)
      .map(
        ([what, size, [low, high]]) =>
          `X has ${size} ${what}, outside the ${low} to ${high} that the model '${this.name}' was trained on: check ` +
          "the estimate against another method.",
      );
  }

  /** A sentence if the network reads more rows than in training. */
  doubtsAboutLandmarks(landmarks) {
    if (landmarks <= this.landmarks) return [];
    return [`The network reads ${landmarks} rows, more than the ${this.landmarks} it was trained to read.`];
  }
}

function entriesOf(bytes) {
  const found = {};
  try {
    for (const [field, value] of fieldsOf(bytes)) {
      if (field !== PROPERTIES) continue;
      const [key, text] = [...fieldsOf(value)].map(([, part]) => new TextDecoder("utf-8", { fatal: true }).decode(part));
      found[key] = text;
    }
  } catch (error) {
    throw unusable(error.message);
  }
  return found;
}

/** The fields of a message that hold bytes: their numbers and their values. */
function* fieldsOf(bytes) {
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= bytes.length || factor > 2 ** 63) throw new RangeError("the file is cut short");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = number();
    const kind = key % 8;
    if (kind === 0) number();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const size = number();
      if (at + size > bytes.length) throw new RangeError("the file is cut short");
      yield [Math.floor(key / 8), bytes.subarray(at, at + size)];
      at += size;
    } else throw new RangeError("it is no ONNX file");
  }
}

const unusable = (why) =>
  new ModelError(`the model has no usable metadata (${why}): take mixture.onnx of the folder of a model`);
