// A thread for the KDE and for files, so that neither waits for the model.

import { readCsv } from "./csv.js";
import { Random } from "./discoformer/random.js";
import { Kde } from "./kde.js";
import { serve } from "./tasks.js";

let kde = null;

serve({
  read({ sample, factor }) {
    kde = new Kde(sample, factor);
  },

  /** Changes the bandwidth. */
  smooth({ factor }) {
    kde = kde.with(factor);
  },

  ask({ points }) {
    const start = performance.now();
    return { ...kde.ask(points), ms: performance.now() - start };
  },

  draw: ({ n, seed }) => kde.draw(n, new Random(seed)),

  csv: ({ file }) => readCsv(file),
});
