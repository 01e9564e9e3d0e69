// Density and score of the distribution behind a sample. This is the entry for browsers and bundlers; node.js is that
// of Node.

import { InputError, ModelNotFoundError } from "./errors.js";
import { Model } from "./model.js";
import { defaultRuntime } from "./runtime.js";
import { shown } from "./text.js";

export {
  DegenerateDataError,
  DeviceError,
  DiscoformerError,
  EffortError,
  InputError,
  MissingExtraError,
  ModelError,
  ModelNotFoundError,
} from "./errors.js";
export { Estimate } from "./estimate.js";
export { Model } from "./model.js";

/** Loads a model; see index.d.ts for the options. */
export async function load(options = {}) {
  const { model = new URL("../models/mixture.onnx", import.meta.url) } = options;
  const ort = options.ort ?? (await defaultRuntime(() => import("onnxruntime-web/wasm"), "onnxruntime-web"));
  return Model.open(await bytesOf(model), { ...options, ort });
}

/** The bytes of a model: themselves, or those at a URL. */
async function bytesOf(model) {
  if (model instanceof ArrayBuffer) return new Uint8Array(model);
  if (model instanceof Uint8Array) return model;
  if (!(typeof model === "string" || model instanceof URL)) {
    throw new InputError(`model must be the URL of mixture.onnx, or its bytes, got ${shown(model)}`);
  }
  const answer = await fetch(model);
  if (!answer.ok) {
    throw new ModelNotFoundError(`${answer.url} cannot be downloaded (status ${answer.status}): check the URL of the model`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}
