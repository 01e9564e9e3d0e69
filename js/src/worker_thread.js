// What runs in the worker of worker.js: it does one task after another; only a stop is done at once.

import { load } from "./index.js";

const estimates = new Map();
const running = new Map(); // controllers of the tasks that wait or run
let model = null;
let count = 0;

const tasks = {
  async load({ ort, model: url, device }) {
    const runtime = ort && (await import(/* @vite-ignore */ ort));
    const onWarning = (warning) => postMessage({ warning });
    model = await load({ ...(runtime && { ort: runtime }), ...(url && { model: url }), device, onWarning });
    return { metadata: { ...model.metadata }, device: model.device, sha256: model.sha256 };
  },

  estimate: async ({ X, options }, signal) => kept(await model.estimate(X, { ...options, signal })),

  loadEstimate: async ({ bytes }) => kept(await model.loadEstimate(bytes)),

  ask: ({ key, method, Y }, signal) => estimates.get(key)[method](Y, { signal }),

  sample: ({ key, n, options }) => estimates.get(key).sample(n, options),

  save: ({ key, options }) => estimates.get(key).save(options),

  release: ({ key }) => void estimates.delete(key),
};

function kept(estimate) {
  estimates.set(++count, estimate);
  const { dim, effort, columns, diagnostics } = estimate;
  return { key: count, dim, effort, columns, diagnostics };
}

async function perform({ id, task, given }, signal) {
  try {
    signal.throwIfAborted();
    postMessage({ id, result: await tasks[task](given, signal) });
  } catch (error) {
    postMessage({ id, error: { name: error.name, message: error.message } });
  }
  running.delete(id);
}

let last = Promise.resolve();

globalThis.onmessage = ({ data }) => {
  if (data.task === "abort") return running.get(data.id)?.abort();
  const controller = new AbortController();
  running.set(data.id, controller);
  last = last.then(() => perform(data, controller.signal));
};
