// Draws both panels from the state.

import { colourMap } from "./colours.js";
import { ESTIMATORS, sharedScale } from "./compute.js";
import { Picture } from "./picture.js";
import { showScale } from "./readout.js";
import { chosen, element, state } from "./state.js";

const LAYERS = ["heat", "contours", "arrows", "points"];
const COLOURS = [
  "paper",
  "line",
  "text",
  "faint",
  "halo",
  "contour",
  "point",
  "point-rim",
  "arrow",
  "particle",
  "particle-rim",
  "crosshair",
]; // the colours of the style sheet that the pictures use

const dark = matchMedia("(prefers-color-scheme: dark)");

/** For each estimator by name: the upper canvas and the picture of its panel. */
export const panels = new Map(
  ESTIMATORS.map((name) => {
    const panel = document.querySelector(`.panel[data-estimator=${name}]`);
    const canvas = panel.querySelector(".moving");
    return [name, { canvas, picture: new Picture(panel.querySelector(".still"), canvas) }];
  }),
);

let theme = themed();

dark.addEventListener("change", () => {
  theme = themed();
  drawStill();
});

let willDraw = false;
let drawn = Promise.resolve();

/** Resolves when nothing is left to draw. */
export const whenDrawn = () => drawn;

/** Redraws both panels in the next frame; several calls before it draw once. */
export function drawStill() {
  if (willDraw) return;
  willDraw = true;
  drawn = new Promise((resolve) =>
    requestAnimationFrame(() => {
      willDraw = false;
      paint();
      resolve();
    }),
  );
}

/** Draws the particles and the crosshair. */
export function drawMoving() {
  const { cursor, focused, follow } = state;
  for (const [name, { picture }] of panels) {
    picture.drawMoving({ particles: follow.particles?.[name], part: follow.part, cursor, focused, theme });
  }
}

function paint() {
  const { view, points, sample, computation } = state;
  const current = Object.fromEntries(
    Object.entries(computation.answers).map(([name, answer]) => [
      name,
      answer?.view === view ? answer : null,
    ]),
  );
  const { top, steep } = sharedScale(current);
  const shown = Object.fromEntries(LAYERS.map((id) => [id, element(id).checked]));
  shown.logarithmic = chosen("quantity") === "logarithmic";
  for (const [name, { picture }] of panels) {
    picture.fit();
    const answer = current[name] && { ...current[name], steep };
    picture.drawStill({ view, names: sample.names, points, answer, shown, top, theme });
  }
  showScale(theme.colours, Number.isFinite(top) ? top : null, shown.logarithmic);
  drawMoving();
}

/** The colours and the font of the style sheet. */
function themed() {
  const style = getComputedStyle(document.documentElement);
  const named = COLOURS.map((name) => [
    name.replace(/-(.)/, (_, letter) => letter.toUpperCase()),
    style.getPropertyValue(`--${name}`).trim(),
  ]);
  return {
    ...Object.fromEntries(named),
    font: `11px ${style.getPropertyValue("--sans")}`,
    colours: colourMap(dark.matches),
  };
}
