// Files to save: the picture as PNG, the grid as CSV.

import { ESTIMATORS } from "./engine.js";
import { gridCsv } from "./grid.js";
import { composed } from "./panels.js";
import { poster } from "./poster.js";
import { element, state } from "./state.js";

/** Saves what the plots show, and the particles. */
export async function savePicture() {
  await state.computation.idle();
  const kinds = { discoformer: "no bandwidth", kde: element("rule").textContent };
  const note = [element("used").textContent, "points ·", element("about").textContent].join(" ");
  const canvas = poster(composed(), kinds, state.follow.particles, note);
  save(await canvas.convertToBlob({ type: "image/png" }), "discoformer.png");
}

/** Saves the answers of both estimators at the nodes of the grid. */
export async function saveGrid() {
  await state.computation.idle();
  const { sample, view, computation } = state;
  if (!ESTIMATORS.every((name) => computation.answers[name]?.view === view)) return;
  save(new Blob([gridCsv(sample.names, view, computation.answers)], { type: "text/csv" }), "discoformer.csv");
}

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
