// The entry for Node: the model is read from the disk, and onnxruntime-node runs it.

import { readFile } from "node:fs/promises";

import { ModelNotFoundError } from "./errors.js";
import { load as loadAnywhere } from "./index.js";
import { defaultRuntime } from "./runtime.js";

export * from "./index.js";

/** Loads a model; see index.d.ts for the options. */
export async function load(options = {}) {
  const { model = new URL("../models/mixture.onnx", import.meta.url) } = options;
  const ort = options.ort ?? (await defaultRuntime(() => import("onnxruntime-node"), "onnxruntime-node"));
  return loadAnywhere({ ...options, ort, model: isFile(model) ? await contentOf(model) : model });
}

const isFile = (model) =>
  model instanceof URL ? model.protocol === "file:" : typeof model === "string" && !/^(https?|data|blob):/.test(model);

async function contentOf(path) {
  try {
    return new Uint8Array(await readFile(path));
  } catch (error) {
    throw new ModelNotFoundError(`${path} cannot be read (${error.code}): pass the path of mixture.onnx`, { cause: error });
  }
}
