// The estimators run in a thread of their own, so that the page does not freeze. Tasks run one after the other.

import { readCsv } from "./csv.js";
import { Kde } from "./kde.js";
import { Model } from "./model.js";

let model;
const estimates = { discoformer: null, kde: null };

const tasks = {
  async open({ folder }) {
    model = await Model.open(folder, (file) => postMessage({ opening: file }));
    return model.about;
  },

  /** Runs the model once without using the result: browsers optimise WebAssembly after it has run. */
  async warm() {
    const some = Float64Array.from({ length: 64 }, (_, k) => Math.sin(k * k));
    await (await model.read(some)).ask(some);
  },

  /** Reads a sample with both estimators; returns the time it took. */
  async read({ sample, factor }) {
    estimates.discoformer = await model.read(sample);
    estimates.kde = new Kde(sample, factor);
    return { ...estimates.discoformer.times, finite: estimates.discoformer.finite };
  },

  /** Changes the bandwidth of the KDE. */
  smooth({ factor }) {
    estimates.kde = estimates.kde?.with(factor) ?? null;
  },

  /** Log-density and score at points by the estimators named in `of`, and the time each took. */
  async ask({ points, of }) {
    const answers = {};
    for (const name of of) {
      if (!estimates[name]) throw new Error("no sample has been read");
      const start = performance.now();
      answers[name] = await estimates[name].ask(points);
      answers[name].ms = performance.now() - start;
    }
    return answers;
  },

  csv: ({ file }) => readCsv(file),
};

async function perform({ id, task, given }) {
  try {
    postMessage({ id, result: await tasks[task](given) });
  } catch (error) {
    postMessage({ id, error: error?.message ?? String(error) });
  }
}

let last = Promise.resolve();
onmessage = ({ data }) => {
  last = last.then(() => perform(data));
};
