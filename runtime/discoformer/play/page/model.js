// The model in the browser: three graphs, run by onnxruntime-web on one thread.
//
//   frame.onnx   a sample (N, 2), data units      -> the frame, the base, and the inputs of encode.onnx
//   encode.onnx  the sample in its frame          -> its encoding
//   query.onnx   points z in the frame            -> log-density and score in the frame
//
// Points y (rows) are mapped to the frame by  z = (y - center) A.  Answers are mapped back, in float64, by
// log f(y) = log f(z) + log |det A|  and  score(y) = score(z) A^T.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.numThreads = 1; // more threads need cross-origin isolation, which many web servers do not offer
ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.logLevel = "error";

/** The milliseconds since a time given by `performance.now()`. */
const since = (start) => performance.now() - start;

export class Model {
  #frame;
  #encode;
  #query;

  /** Loads the three files in the folder at a URL; calls `say` with the name of each. */
  static async open(folder, say) {
    const model = new Model();
    const about = await (await fetched(new URL("config.json", folder))).json();
    say("query.onnx");
    model.#query = await opened(new URL("query.onnx", folder));
    say("encode.onnx");
    model.#encode = await opened(new URL("encode.onnx", folder));
    say("frame.onnx");
    model.#frame = await opened(new URL("frame.onnx", folder));
    return Object.assign(model, { about: about.model });
  }

  /** Reads a sample (x0, y0, x1, y1, ...) and returns an estimate. */
  async read(sample) {
    const n = sample.length / 2;
    let start = performance.now();
    const framed = await this.#frame.run({
      data: new ort.Tensor("float64", sample, [1, n, 2]),
      data_log_weights: new ort.Tensor("float64", new Float64Array(n), [1, n]),
    });
    const frameMs = since(start);
    start = performance.now();
    const encoded = await this.#encode.run(asked(this.#encode, framed));
    const [center, linear, [logAbsDet]] = ["center", "linear", "log_abs_det"].map(
      (name) => framed[name].data,
    );
    const given = asked(this.#query, { ...framed, ...encoded });
    return new Estimate(
      this.#query,
      given,
      { center, linear, logAbsDet },
      { frameMs, encodeMs: since(start) },
    );
  }
}

class Estimate {
  #query;
  #given;
  #frame;

  constructor(query, given, frame, times) {
    this.#query = query;
    this.#given = given;
    this.#frame = frame;
    this.times = times;
    this.finite = [...frame.center, ...frame.linear, frame.logAbsDet].every(Number.isFinite);
  }

  /** Log-density (M) in nats and score (2 M) at points (2 M), in data units. */
  async ask(points) {
    const { center, linear, logAbsDet } = this.#frame;
    const count = points.length / 2;
    const z = new Float32Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      const x = points[i] - center[0];
      const y = points[i + 1] - center[1];
      z[i] = x * linear[0] + y * linear[2];
      z[i + 1] = x * linear[1] + y * linear[3];
    }
    const found = await this.#query.run({
      ...this.#given,
      queries: new ort.Tensor("float32", z, [1, count, 2]),
    });
    const logDensity = Float64Array.from(found.log_density.data, (value) => value + logAbsDet);
    const score = new Float64Array(points.length);
    for (let i = 0; i < points.length; i += 2) {
      const [p, q] = [found.score.data[i], found.score.data[i + 1]];
      score[i] = p * linear[0] + q * linear[1];
      score[i + 1] = p * linear[2] + q * linear[3];
    }
    return { logDensity, score };
  }
}

/** The tensors that are inputs of a session. */
function asked(session, tensors) {
  return Object.fromEntries(
    session.inputNames.filter((name) => name in tensors).map((name) => [name, tensors[name]]),
  );
}

async function opened(url) {
  const bytes = new Uint8Array(await (await fetched(url)).arrayBuffer());
  return ort.InferenceSession.create(bytes, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
}

async function fetched(url) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url.pathname} cannot be downloaded (status ${answer.status}): create the site again`);
  return answer;
}
