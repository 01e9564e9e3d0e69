// Draws both panels from the state.

import { colourMap } from "./colours.js";
import { sharedScale } from "./compute.js";
import { ESTIMATORS } from "./engine.js";
import { Picture } from "./picture.js";
import { showScale } from "./readout.js";
import { chosen, element, state } from "./state.js";
import { isDark } from "./theme.js";

const LAYERS = ["heat", "contours", "arrows", "points"];
const COLOURS = [
  "ground",
  "paper",
  "accent",
  "other",
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

/** For each estimator by name: the upper canvas and the picture of its panel. */
export const panels = new Map(
  ESTIMATORS.map((name) => {
    const panel = document.querySelector(`.panel[data-estimator=${name}]`);
    const canvas = panel.querySelector(".moving");
    return [name, { canvas, picture: new Picture(panel.querySelector(".still"), canvas) }];
  }),
);

let theme = themed();

/** Draws in the colours of the theme that the page has now. */
export function changeTheme() {
  theme = themed();
  drawStill();
}

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
  const { scenes, scale } = composed();
  for (const [name, { picture }] of panels) {
    picture.fit();
    picture.drawStill(scenes[name]);
  }
  showScale(scale);
  drawMoving();
}

/** What to draw: for each estimator what Picture.drawStill takes, and the scale of the colours, which they share. */
export function composed() {
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
  const scene = (answer) => ({
    view,
    names: sample.names,
    points,
    answer: answer && { ...answer, steep },
    shown,
    top,
    theme,
  });
  return {
    scenes: Object.fromEntries(ESTIMATORS.map((name) => [name, scene(current[name])])),
    scale: {
      colours: theme.colours,
      top: Number.isFinite(top) ? top : null,
      logarithmic: shown.logarithmic,
    },
    theme,
  };
}

/** The colours and the font of the style sheet. */
function themed() {
  const probe = document.body.appendChild(document.createElement("i"));
  const style = getComputedStyle(probe);
  const named = COLOURS.map((name) => {
    probe.style.color = `var(--${name})`;
    return [name.replace(/-(.)/, (_, letter) => letter.toUpperCase()), style.color];
  });
  const sans = style.getPropertyValue("--sans");
  probe.remove();
  return { ...Object.fromEntries(named), sans, font: `11px ${sans}`, colours: colourMap(isDark()) };
}
