// The network, in sessions of onnxruntime: which runtime, where, and what to do without it.

import { DeviceError, InputError, MissingExtraError, ModelError } from "./errors.js";
import { shown } from "./text.js";

const DEVICES = ["auto", "cpu", "wasm", "webgpu"];
const TRIED = 16; // points of the sample by which a GPU is compared with the CPU
const AGREE = 1e-3; // greatest difference of a number, relative to 1 + its size

/** Opens a model. `ort` is onnxruntime-web or onnxruntime-node; `device` as in `load`. */
export async function openNetwork(ort, bytes, device, warn) {
  if (typeof ort?.InferenceSession?.create !== "function" || typeof ort.Tensor !== "function") {
    throw new InputError(`ort must be onnxruntime-web or onnxruntime-node, got ${shown(ort)}: import one, and pass it`);
  }
  if (!DEVICES.includes(device)) {
    throw new InputError(`device must be one of ${DEVICES.map((name) => `'${name}'`).join(", ")}, got ${shown(device)}`);
  }
  const inNode = Boolean(ort.env?.versions?.node);
  const host = inNode ? "cpu" : "wasm";
  if (!["auto", "webgpu", host].includes(device)) {
    throw new DeviceError(
      `device ${shown(device)} cannot be had with ${inNode ? "onnxruntime-node" : "onnxruntime-web"}: pass ` +
        `'${host}', or leave it out`,
    );
  }
  const network = new Network(ort, host, await created(ort, bytes, [host]), warn);
  if (device === "webgpu") await network.tryGpu(bytes);
  return network;
}

/** The sessions of a model: on the CPU and, as long as it works, on the GPU. */
class Network {
  #ort;
  #host;
  #onHost;
  #onGpu = null;
  #warn;

  constructor(ort, host, session, warn) {
    this.#ort = ort;
    this.#host = host;
    this.#onHost = session;
    this.#warn = warn;
  }

  get device() {
    return this.#onGpu ? "webgpu" : this.#host;
  }

  /** Takes inputs by name, [Float32Array, shape] each; gives outputs of some names, Float32Arrays. */
  async run(inputs, names) {
    if (this.#onGpu) {
      try {
        return await this.#runIn(this.#onGpu, inputs, names);
      } catch (error) {
        this.#onGpu = null;
        this.#warnOf(error);
      }
    }
    return this.#runIn(this.#onHost, inputs, names);
  }

  /** Opens a session on the GPU, and keeps it if it gives what the CPU gives for a small sample. */
  async tryGpu(bytes) {
    try {
      const adapter = await globalThis.navigator?.gpu?.requestAdapter();
      if (!adapter) throw new Error("there is no adapter");
      const onGpu = await created(this.#ort, bytes, ["webgpu", this.#host]);
      const [found, wanted] = [await this.#runIn(onGpu, trial()), await this.#runIn(this.#onHost, trial())];
      for (const [name, values] of Object.entries(wanted)) {
        const near = (value, i) => Math.abs(found[name][i] - value) <= AGREE * (1 + Math.abs(value));
        if (!values.every(near)) throw new Error(`its ${name} are others than on the CPU`);
      }
      this.#onGpu = onGpu;
    } catch (error) {
      this.#warnOf(error);
    }
  }

  async release() {
    await this.#onGpu?.release();
    await this.#onHost.release();
  }

  async #runIn(session, inputs, names = session.outputNames) {
    const feeds = {};
    for (const [name, [values, shape]] of Object.entries(inputs)) {
      feeds[name] = new this.#ort.Tensor("float32", values, shape);
    }
    const found = await session.run(feeds, names);
    return Object.fromEntries(names.map((name) => [name, Float32Array.from(found[name].data)]));
  }

  #warnOf(error) {
    this.#warn("DeviceWarning", `WebGPU cannot run the model here (${error.message}), so it runs on the CPU.`);
  }
}

async function created(ort, bytes, executionProviders) {
  try {
    return await ort.InferenceSession.create(bytes, {
      executionProviders,
      graphOptimizationLevel: "basic",
      logSeverityLevel: 3,
    });
  } catch (error) {
    throw new ModelError(
      `onnxruntime cannot open the model (${error.message}): take a build that has float64, such as ` +
        "onnxruntime-web/wasm",
      { cause: error },
    );
  }
}

/** The inputs of the graph for a small sample. */
function trial() {
  const points = Float32Array.from({ length: 2 * TRIED }, (_, i) => Math.sin(i * i));
  const weights = new Float32Array(TRIED).fill(-Math.log(TRIED));
  return {
    context: [points, [1, TRIED, 2]],
    log_weights: [weights, [1, TRIED]],
    precision_root: [Float32Array.of(1, 0, 0, 1), [1, 2, 2]],
    log_det_precision: [Float32Array.of(0), [1]],
    effective_size: [Float32Array.of(TRIED), [1]],
    all_points: [points, [1, TRIED, 2]],
    all_log_weights: [weights, [1, TRIED]],
  };
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
