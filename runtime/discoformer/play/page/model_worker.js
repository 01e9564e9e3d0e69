// A thread for the model.

import { Model } from "./model.js";
import { Random } from "./random.js";
import { serve } from "./tasks.js";

let model = null;
let mixture = null;

serve({
  async open({ folder }) {
    model = await Model.open(folder);
    return model.about;
  },

  /** Runs the model once without using the result. */
  async warm() {
    const some = Float64Array.from({ length: 1024 }, (_, k) => Math.sin(k * k));
    (await model.read(some)).ask(some);
  },

  /** Reads a sample; returns the number of components and the milliseconds it took. */
  async read({ sample }) {
    const start = performance.now();
    mixture = await model.read(sample);
    return { components: mixture.count, ms: performance.now() - start };
  },

  ask({ points }) {
    const start = performance.now();
    return { ...mixture.ask(points), ms: performance.now() - start };
  },

  draw: ({ n, seed }) => mixture.draw(n, new Random(seed)),
});
