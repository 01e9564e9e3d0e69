// The estimators run in a thread of their own, so that the page does not freeze. Tasks run one after the other.

import { readCsv } from "./csv.js";
import { Kde } from "./kde.js";
import { Model } from "./model.js";
import { Random } from "./random.js";

let model;
const estimates = { discoformer: null, kde: null };

const tasks = {
  async open({ folder }) {
    model = await Model.open(folder);
    return model.about;
  },

  /** Runs the model once without using the result. */
  async warm() {
    const some = Float64Array.from({ length: 1024 }, (_, k) => Math.sin(k * k));
    (await model.read(some)).ask(some);
  },

  /** Reads a sample with both estimators; returns the number of components and the milliseconds of the model. */
  async read({ sample, factor }) {
    const start = performance.now();
    estimates.discoformer = await model.read(sample);
    const ms = performance.now() - start;
    estimates.kde = new Kde(sample, factor);
    return { components: estimates.discoformer.count, ms };
  },

  /** Changes the bandwidth of the KDE. */
  smooth({ factor }) {
    estimates.kde = estimates.kde?.with(factor) ?? null;
  },

  /** Log-density and score at points by the estimators named in `of`, and the time each took. */
  ask({ points, of }) {
    const answers = {};
    for (const name of of) {
      const start = performance.now();
      answers[name] = { ...estimate(name).ask(points), ms: performance.now() - start };
    }
    return answers;
  },

  /** Draws (2 n) from an estimate. */
  draw: ({ name, n, seed }) => estimate(name).draw(n, new Random(seed)),

  csv: ({ file }) => readCsv(file),
};

function estimate(name) {
  if (!estimates[name]) throw new Error("no sample has been read");
  return estimates[name];
}

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
