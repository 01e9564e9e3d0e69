// The numbers beside the panels: the estimates at the crosshair, and the colour scale.

import { ESTIMATORS } from "./engine.js";
import { short } from "./numbers.js";
import { DEPTH } from "./picture.js";

const element = (id) => document.getElementById(id);
const row = (name) => document.querySelector(`#readout tr[data-estimator=${name}]`);

/** Shows the estimates at a point, or dashes if there are none (`answers` is null). */
export function showAnswers(point, names, answers) {
  const table = element("readout");
  element("place").textContent = point
    ? `At ${names[0]} ${short(point[0])}, ${names[1]} ${short(point[1])}`
    : "Point at a plot to read its values";
  Object.assign(table.dataset, { x: point?.[0] ?? "", y: point?.[1] ?? "" });
  for (const name of ESTIMATORS) {
    const found = answers?.[name];
    const values = found ? [found.logDensity[0], Math.exp(found.logDensity[0]), ...found.score] : null;
    const { dataset, cells } = row(name);
    Object.assign(dataset, {
      logDensity: values?.[0] ?? "",
      scoreX: values?.[2] ?? "",
      scoreY: values?.[3] ?? "",
    });
    const texts = values ? values.map((value) => short(value)) : ["–", "–", "–"];
    cells[1].textContent = texts[0];
    cells[2].textContent = texts[1];
    cells[3].textContent = values ? `${texts[2]}, ${texts[3]}` : "–";
  }
}

/** The estimates at the crosshair as a sentence, for screen readers. */
export function spoken(point, names, answers) {
  const where = `${names[0]} ${short(point[0], 3)}, ${names[1]} ${short(point[1], 3)}`;
  if (!answers) return where;
  const [ours, kde] = ESTIMATORS.map((name) => short(answers[name].logDensity[0], 3));
  return `${where}: log-density by DiScoFormer ${ours} nats, by KDE ${kde} nats`;
}

/** Shows the colour map with its lowest, middle and highest value. */
export function showScale(scale) {
  drawBar(element("bar"), scale);
  const { quantity, values } = scaleTexts(scale);
  element("quantity").textContent = quantity;
  for (const [k, id] of ["low", "middle", "high"].entries()) element(id).textContent = values[k];
}

/** Draws the colour map (256 pixels) on a canvas. */
export function drawBar(canvas, { colours }) {
  const image = new ImageData(colours.length, 1);
  new Uint32Array(image.data.buffer).set(colours);
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** What the colours show, and the lowest, middle and highest value; `top` is the largest log-density, or null. */
export function scaleTexts({ top, logarithmic }) {
  const quantity = logarithmic ? "log-density, nats" : "density, per unit area";
  if (top === null) return { quantity, values: ["", "", ""] };
  if (!logarithmic) {
    const highest = Math.exp(top); // the colour is linear in the square root of the density
    return { quantity, values: [0, highest / 4, highest].map((value) => short(value, 3)) };
  }
  const [low, ...others] = [top - DEPTH, top - DEPTH / 2, top].map((value) => short(value, 3));
  return { quantity, values: [`≤ ${low}`, ...others] };
}
