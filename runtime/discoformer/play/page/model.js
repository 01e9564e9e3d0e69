// The model in the browser: discoformer.onnx, run by onnxruntime-web on one thread. It reads a sample in one pass
// and gives a mixture in data units. Everything else follows from the mixture in closed form.

import { Mixture } from "./mixture.js";
import * as ort from "./ort/ort.wasm.bundle.min.mjs";

const MIXTURE = ["mixture_log_weights", "mixture_means", "mixture_scales", "mixture_freedom"];

ort.env.wasm.numThreads = 1; // more threads need cross-origin isolation, which many web servers do not offer
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

export class Model {
  #session;

  /** Loads the files in the folder at a URL. */
  static async open(folder) {
    const model = new Model();
    const config = await (await fetched(new URL("config.json", folder))).json();
    model.about = { ...config.model, ...config.mixture }; // the mixture network has a version of its own
    const bytes = await (await fetched(new URL("discoformer.onnx", folder))).arrayBuffer();
    model.#session = await ort.InferenceSession.create(new Uint8Array(bytes), {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "disabled", // the exporter has folded the constants: more takes a second and gains nothing
    });
    return model;
  }

  /** Reads a sample (x0, y0, x1, y1, ...) and returns its mixture. */
  async read(sample) {
    const n = sample.length / 2;
    const found = await this.#session.run(
      {
        context: new ort.Tensor("float64", sample, [1, n, 2]),
        queries: new ort.Tensor("float64", sample.slice(0, 2), [1, 1, 2]), // its answer is not used
        log_weights: new ort.Tensor("float64", new Float64Array(n), [1, n]),
      },
      MIXTURE,
    );
    const mixture = new Mixture(...MIXTURE.map((name) => found[name].data));
    if (mixture.isFinite) return mixture;
    throw new Error("Rounding errors are too large for these points: move some of them apart.");
  }
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname} cannot be downloaded (status ${answer.status}): create the site again`);
  return answer;
}
