// The picture as a file: both plots, their names, and the scale of the colours, in the colours of the page.

import { ESTIMATORS } from "./engine.js";
import { Picture } from "./picture.js";
import { drawBar, scaleTexts } from "./readout.js";

const SIDE = 560; // of a plot with its axes, in CSS pixels; its height is less, as on the page
const HEIGHT = SIDE - 16;
const EDGE = 20;
const CAPTION = 30;
const FOOT = 62;
const BAR = 236;
const RATIO = 2; // pixels of the file along a CSS pixel
const NAMES = { discoformer: "DiScoFormer", kde: "Gaussian KDE" };
const MARKS = { discoformer: "accent", kde: "other" };

/**
 * A canvas with the picture.
 *
 * `kinds` has a text beside the name of each estimator, `particles` is null or has those of each, `note` is a text
 * at the foot.
 */
export function poster({ scenes, scale, theme }, kinds, particles, note) {
  const [width, height] = [3 * EDGE + 2 * SIDE, EDGE + CAPTION + HEIGHT + FOOT];
  const canvas = new OffscreenCanvas(RATIO * width, RATIO * height);
  const context = canvas.getContext("2d");
  context.scale(RATIO, RATIO);
  context.fillStyle = theme.ground;
  context.fillRect(0, 0, width, height);
  ESTIMATORS.forEach((name, k) => {
    const left = EDGE + k * (SIDE + EDGE);
    drawCaption(context, left, NAMES[name], kinds[name], theme[MARKS[name]], theme);
    for (const layer of layersOf(scenes[name], particles?.[name], theme)) {
      context.drawImage(layer, left, EDGE + CAPTION, SIDE, HEIGHT);
    }
  });
  drawFoot(context, width, height, scale, note, theme);
  return canvas;
}

/** The still and the moving layer of a plot. */
function layersOf(scene, particles, theme) {
  const layers = [0, 1].map(() => new OffscreenCanvas(1, 1));
  const picture = new Picture(...layers);
  picture.resize([SIDE, HEIGHT], RATIO);
  picture.drawStill(scene);
  picture.drawMoving({ particles, part: 1, cursor: null, theme });
  return layers;
}

function drawCaption(context, left, name, kind, colour, theme) {
  const line = EDGE + CAPTION / 2;
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.fillStyle = colour;
  context.beginPath();
  context.arc(left + 50, line, 4, 0, 2 * Math.PI);
  context.fill();
  context.font = `600 14px ${theme.sans}`;
  context.fillStyle = theme.text;
  context.fillText(name, left + 61, line);
  const after = left + 61 + context.measureText(name).width + 9;
  context.font = `14px ${theme.sans}`;
  context.fillStyle = theme.faint;
  context.fillText(kind, after, line);
}

function drawFoot(context, width, height, scale, note, theme) {
  const [left, top] = [width - EDGE - 10 - BAR, height - FOOT + 12];
  const { quantity, values } = scaleTexts(scale);
  const bar = new OffscreenCanvas(256, 1);
  drawBar(bar, scale);
  context.drawImage(bar, left, top, BAR, 10);
  context.strokeStyle = theme.line;
  context.strokeRect(left - 0.5, top - 0.5, BAR + 1, 11);
  context.font = `12px ${theme.sans}`;
  context.textBaseline = "top";
  context.fillStyle = theme.text;
  values.forEach((value, k) => {
    context.textAlign = ["left", "center", "right"][k];
    context.fillText(value, left + (k * BAR) / 2, top + 16);
  });
  context.textAlign = "right";
  context.fillText(quantity, left - 14, top - 1);
  context.textAlign = "left";
  context.fillStyle = theme.faint;
  context.fillText(note, EDGE + 46, top - 1);
}
