// The texts of the page that change: messages, sample, times, particles. Also enables and disables controls.

import { ESTIMATORS } from "./engine.js";
import { WORDS } from "./follow.js";
import { count, duration, short } from "./numbers.js";
import { FEWEST, sliderOf } from "./sample.js";
import { bandwidth, chosen, element, state } from "./state.js";

let announcing = 0;

/** Tells a text to screen readers. */
export function announce(text) {
  clearTimeout(announcing);
  announcing = setTimeout(() => (element("announcer").textContent = text), 250);
}

/** Shows a message over the panels; null hides it. */
export function notify(text) {
  element("notice").hidden = !text;
  element("notice").querySelector("p").textContent = text ?? "";
  element("notice").setAttribute("role", "alert");
}

/** Shows the number of points used, and which example is chosen. */
export function tellSample() {
  const { sample, origin, points } = state;
  const n = points.length / 2;
  element("used").textContent = sample.total > n ? `${count(n)} of ${count(sample.total)}` : count(n);
  element("n").value = sliderOf(n, sample.total);
  element("n").setAttribute("aria-valuetext", `${n} of ${sample.total} points`);
  for (const button of element("examples").children) {
    button.setAttribute(
      "aria-pressed",
      String(origin.kind === "example" && origin.name === button.dataset.name),
    );
  }
}

/** Shows the size of the sample, and how long each step of the computation took. */
export function tellStatus() {
  const status = element("status");
  const { about, points, computation, took } = state;
  if (!about) return;
  const { reading } = computation;
  if (!reading) {
    status.textContent = "Ready.";
    return;
  }
  const { discoformer, kde } = computation.answers;
  const parts = [
    `${count(points.length / 2)} points`,
    `one forward pass ${duration(reading.ms)}`,
  ];
  if (discoformer) {
    parts.push(`${discoformer.size} × ${discoformer.size} grid ${duration(discoformer.ms)}`);
  }
  if (kde) parts.push(`KDE grid ${duration(kde.ms)}`);
  if (took !== null) parts.push(`picture after ${duration(took)}`);
  const doubts = reading.warnings.join(" ");
  status.textContent = parts.join(" · ") + (doubts ? ` — ${doubts}` : "");
}

/** Shows what the particles do, and what the buttons do next. */
export function tellParticles() {
  const { follow } = state;
  const how = chosen("how");
  element("how-words").textContent = WORDS[how];
  const next = how === "draws" ? "Draw" : follow.particles ? "Continue" : "Release particles";
  element("play").textContent = follow.playing ? "Pause" : next;
  for (const name of ESTIMATORS) {
    document.querySelector(`.panel[data-estimator=${name}] .particles`).textContent = follow.words(name, how);
  }
  enable();
}

/** Enables the controls that have an effect, and disables the others. */
export function enable() {
  const { sample, points, origin, computation, follow } = state;
  const some = points.length > 0;
  element("n").disabled = sample.total <= FEWEST;
  element("undo").disabled = element("clear").disabled = !some;
  element("redraw").disabled = origin.kind !== "example";
  element("play").disabled = !computation.isReady;
  element("remove").disabled = !follow.particles;
  element("link").disabled = !some;
  element("save-picture").disabled = element("save-grid").disabled = !computation.isReady;
}

/** Shows the bandwidth at its slider and over the panel. */
export function tellBandwidth() {
  const text = `× ${short(bandwidth(), 3)}`;
  element("bandwidth-value").textContent = `Scott’s rule ${text}`;
  element("rule").textContent = element("bandwidth").value === "0" ? "Scott’s rule" : `Scott’s rule ${text}`;
  element("bandwidth").setAttribute("aria-valuetext", `Scott's rule times ${short(bandwidth(), 3)}`);
}

/** Shows the width of the brush. */
export function tellBrush() {
  const width = element("brush").value;
  element("brush-width").textContent = width === "0" ? "fine line" : `${width} % of the view`;
}
