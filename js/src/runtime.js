// The session of onnxruntime that runs a model: which runtime, where, and what to do without it.

import { DeviceError, InputError, MissingExtraError, ModelError } from "./errors.js";
import { shown } from "./text.js";

const DEVICES = ["auto", "cpu", "wasm", "webgpu"];

/** Opens the session of a model. `ort` is onnxruntime-web or onnxruntime-node; `device` as in `load`. */
export async function openSession(ort, bytes, device, warn) {
  if (typeof ort?.InferenceSession?.create !== "function" || typeof ort.Tensor !== "function") {
    throw new InputError(`ort must be onnxruntime-web or onnxruntime-node, got ${shown(ort)}: import one, and pass it`);
  }
  if (!DEVICES.includes(device)) {
    throw new InputError(`device must be one of ${DEVICES.map((name) => `'${name}'`).join(", ")}, got ${shown(device)}`);
  }
  const inNode = Boolean(ort.env?.versions?.node);
  const host = inNode ? "cpu" : "wasm";
  if (device === "webgpu") {
    const adapter = await globalThis.navigator?.gpu?.requestAdapter().catch(() => null);
    if (adapter) return { session: await created(ort, bytes, ["webgpu", host]), device: "webgpu" };
    warn("DeviceWarning", "WebGPU is not available here, so the model runs on the CPU: use a browser that has it.");
  } else if (device !== "auto" && device !== host) {
    throw new DeviceError(
      `device ${shown(device)} cannot be had with ${inNode ? "onnxruntime-node" : "onnxruntime-web"}: pass ` +
        `'${host}', or leave it out`,
    );
  }
  return { session: await created(ort, bytes, [host]), device: host };
}

async function created(ort, bytes, executionProviders) {
  try {
    return await ort.InferenceSession.create(bytes, {
      executionProviders,
      graphOptimizationLevel: "basic",
      logSeverityLevel: 3,
    });
  } catch (error) {
    throw new ModelError(`onnxruntime cannot open the model (${error.message})`, { cause: error });
  }
}

/** Imports the runtime of this environment. The names are literal, so that bundlers find them. */
export async function defaultRuntime(load, name) {
  try {
    const found = await load();
    return found.InferenceSession ? found : found.default;
  } catch (error) {
    throw new MissingExtraError(`${name} is required here but not installed: npm install ${name}`, { cause: error });
  }
}
