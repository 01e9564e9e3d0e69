// onnxruntime-web for the worker of the model: WebAssembly in one thread, since more threads need cross-origin
// isolation, which many web servers do not offer.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

export const { InferenceSession, Tensor, env } = ort;
