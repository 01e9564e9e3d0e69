// The numbers beside the panels: the estimates at the crosshair, and the colour scale.

import { ESTIMATORS } from "./compute.js";
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

/** Shows the colour map with its lowest, middle and highest value; `top` is the largest log-density, or null. */
export function showScale(colours, top, logarithmic) {
  const bar = element("bar");
  const image = new ImageData(colours.length / 3, 1);
  for (let k = 0; k < image.width; k++) image.data.set([...colours.subarray(3 * k, 3 * k + 3), 255], 4 * k);
  bar.getContext("2d").putImageData(image, 0, 0);
  element("quantity").textContent = logarithmic ? "log-density, nats" : "density, per unit area";
  const values = logarithmic ? [top - DEPTH, top - DEPTH / 2, top] : [0, Math.exp(top) / 4, Math.exp(top)]; // the colour is linear in the square root of the density
  for (const [k, id] of ["low", "middle", "high"].entries()) {
    const text = `${logarithmic && k === 0 ? "≤ " : ""}${short(values[k], 3)}`;
    element(id).textContent = top === null ? "" : text;
  }
}
