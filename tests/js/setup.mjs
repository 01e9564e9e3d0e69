// What the tests share: the released model, and numbers from a seed.

import { readFile } from "node:fs/promises";

import { load } from "../../js/src/node.js";
import { Random } from "../../js/src/random.js";

export const ROOT = new URL("../../", import.meta.url);
export const MODEL = new URL("models/base/mixture.onnx", ROOT);

/** The released model; its warnings go to `warnings`, if given. */
export const released = async (warnings = []) =>
  load({ model: MODEL, ort: await import("../../js/node_modules/onnxruntime-node/dist/index.js"), onWarning: (w) => warnings.push(w) });

export const json = async (path) => JSON.parse(await readFile(new URL(path, ROOT), "utf8"));

/** Normal points (n, dim) from a seed. */
export function normal(n, dim, seed) {
  const random = new Random(seed);
  return { data: Float64Array.from({ length: n * dim }, () => random.normal()), shape: [n, dim] };
}
