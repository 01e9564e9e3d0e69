// The picture of one panel: a still layer (axes, colour, contours, arrows, points) below a moving layer (particles,
// crosshair).

import { between, contour, resample } from "./field.js";
import { tickLabel } from "./numbers.js";
import { ticks } from "./view.js";

const MARGIN = { left: 46, right: 10, top: 10, bottom: 30 }; // CSS pixels around the plot
const FINEST = 288; // largest number of coloured pixels along each side
const ARROWS = 15; // number of arrows along each side
export const SHARES = [0.25, 0.5, 0.75, 0.95]; // shares of the probability that contours enclose
export const DEPTH = 12; // range of the colour scale for the log-density, in nats below its maximum

export class Picture {
  #still;
  #moving;
  #size = [0, 0];
  #ratio = 1;

  /** Two canvases, one on the other. */
  constructor(still, moving) {
    this.#still = still;
    this.#moving = moving;
  }

  /** Resizes the canvases to their box on the page. */
  fit() {
    this.resize([this.#still.clientWidth, this.#still.clientHeight], Math.min(2, window.devicePixelRatio || 1));
  }

  /** Resizes the canvases to CSS pixels, each of which has `ratio` pixels of the canvas along a side. */
  resize(size, ratio) {
    this.#size = size;
    this.#ratio = ratio;
    const [width, height] = this.#size.map((length) => Math.round(length * this.#ratio));
    if (this.#still.width === width && this.#still.height === height) return;
    for (const canvas of [this.#still, this.#moving]) Object.assign(canvas, { width, height });
  }

  get #plot() {
    return {
      left: MARGIN.left,
      top: MARGIN.top,
      width: Math.max(1, this.#size[0] - MARGIN.left - MARGIN.right),
      height: Math.max(1, this.#size[1] - MARGIN.top - MARGIN.bottom),
    };
  }

  /** The unit coordinates of a pointer event, clamped to the plot. */
  unitOf(event) {
    const box = this.#still.getBoundingClientRect();
    const { left, top, width, height } = this.#plot;
    const u = (event.clientX - box.left - left) / width;
    const v = 1 - (event.clientY - box.top - top) / height;
    return [u, v].map((value) => Math.max(0, Math.min(1, value)));
  }

  /** Whether a pointer event is inside the plot, not in the margins. */
  holds(event) {
    const box = this.#still.getBoundingClientRect();
    const { left, top, width, height } = this.#plot;
    const [x, y] = [event.clientX - box.left - left, event.clientY - box.top - top];
    return x >= 0 && y >= 0 && x <= width && y <= height;
  }

  /** Draws the still layer. `answer` has the `size`, logDensity and score of the grid, or is null. */
  drawStill({ view, names, points, answer, shown, top, theme }) {
    const context = begun(this.#still, this.#ratio);
    const { left, top: up, width, height } = this.#plot;
    context.fillStyle = theme.paper;
    context.fillRect(left, up, width, height);
    context.save();
    context.beginPath();
    context.rect(left, up, width, height);
    context.clip();
    const place = (u, v) => [left + u * width, up + (1 - v) * height];
    if (answer && shown.heat) this.#drawHeat(context, answer, shown, top, theme.colours);
    if (answer && shown.contours) drawContours(context, answer, place, theme);
    if (shown.points) drawPoints(context, points, view, place, theme);
    if (answer && shown.arrows) drawArrows(context, answer, view, place, theme, width);
    context.restore();
    this.#drawAxes(context, view, names, theme);
  }

  #drawHeat(context, { size, logDensity }, shown, top, colours) {
    const { left, top: up, width, height } = this.#plot;
    const side = Math.min(FINEST, Math.round(width));
    const fine = resample(logDensity, size, side);
    const image = new ImageData(side, side);
    const pixels = new Uint32Array(image.data.buffer);
    for (let j = 0; j < side; j++) {
      for (let i = 0; i < side; i++) {
        const below = fine[j * side + i] - top;
        const share = shown.logarithmic ? 1 + below / DEPTH : Math.exp(below / 2); // square root of the density
        pixels[(side - 1 - j) * side + i] = colours[Math.round(255 * Math.max(0, Math.min(1, share)))];
      }
    }
    const canvas = new OffscreenCanvas(side, side);
    canvas.getContext("2d").putImageData(image, 0, 0);
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, left, up, width, height);
  }

  #drawAxes(context, view, names, theme) {
    const { left, top, width, height } = this.#plot;
    context.strokeStyle = theme.line;
    context.lineWidth = 1;
    context.strokeRect(left + 0.5, top + 0.5, width - 1, height - 1);
    context.font = theme.font;
    context.fillStyle = theme.faint;
    const about = Math.max(3, Math.round(width / 90));
    const along = (low, high, draw) => {
      const found = ticks(low, high, about);
      for (const value of found) draw((value - low) / (high - low), tickLabel(value, found[1] - found[0]));
    };
    context.beginPath();
    context.textAlign = "center";
    context.textBaseline = "top";
    along(view.x0, view.x1, (u, text) => {
      const x = Math.round(left + u * width) + 0.5;
      context.moveTo(x, top + height);
      context.lineTo(x, top + height + 4);
      context.fillText(text, x, top + height + 7);
    });
    context.textAlign = "right";
    context.textBaseline = "middle";
    along(view.y0, view.y1, (v, text) => {
      const y = Math.round(top + (1 - v) * height) + 0.5;
      context.moveTo(left - 4, y);
      context.lineTo(left, y);
      context.fillText(text, left - 7, y);
    });
    context.stroke();
    this.#drawNames(context, names, theme);
  }

  /** Draws the names of the axes in the corners of the plot. */
  #drawNames(context, names, theme) {
    const { left, top, width, height } = this.#plot;
    context.fillStyle = theme.text;
    context.textBaseline = "alphabetic";
    const halo = (text, x, y) => {
      context.strokeStyle = theme.paper;
      context.lineWidth = 8;
      context.lineJoin = "round";
      context.strokeText(text, x, y);
      context.fillText(text, x, y);
    };
    context.textAlign = "right";
    halo(names[0], left + width - 8, top + height - 8);
    context.save();
    context.translate(left + 15, top + 8);
    context.rotate(-Math.PI / 2);
    halo(names[1], 0, 0);
    context.restore();
  }

  /** Draws the moving layer: the particles between two steps (`part` from 0 to 1), and the crosshair. */
  drawMoving({ particles, part, cursor, focused, theme }) {
    const context = begun(this.#moving, this.#ratio);
    const { left, top, width, height } = this.#plot;
    context.beginPath();
    context.rect(left, top, width, height);
    context.clip();
    const place = (u, v) => [left + u * width, top + (1 - v) * height];
    if (particles) drawParticles(context, particles, part, place, theme);
    if (cursor) drawCrosshair(context, place(...cursor), this.#plot, focused, theme);
  }
}

/** Clears a canvas; returns its context in CSS pixels. */
function begun(canvas, ratio) {
  const context = canvas.getContext("2d");
  context.restore(); // removes the clip of the previous picture
  context.resetTransform();
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.save();
  context.scale(ratio, ratio);
  return context;
}

function drawContours(context, { logDensity, size, levels }, place, theme) {
  const side = Math.min(192, 3 * size);
  const fine = resample(logDensity, size, side);
  context.lineCap = "round";
  levels.forEach((level, k) => {
    context.beginPath();
    for (const [a, b, c, d] of contour(fine, side, level)) {
      context.moveTo(...place(a, b));
      context.lineTo(...place(c, d));
    }
    context.lineWidth = 2;
    context.strokeStyle = theme.halo;
    context.stroke();
    context.lineWidth = 1.1 - 0.12 * k;
    context.strokeStyle = theme.contour;
    context.stroke();
  });
}

function drawPoints(context, points, view, place, theme) {
  const n = points.length / 2;
  const radius = Math.max(1.3, Math.min(3.2, 9 / Math.cbrt(n)));
  context.fillStyle = theme.point;
  context.strokeStyle = theme.pointRim;
  context.lineWidth = 0.8;
  context.beginPath();
  for (let i = 0; i < points.length; i += 2) {
    const [x, y] = place(...view.toUnit(points[i], points[i + 1]));
    context.moveTo(x + radius, y);
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  context.stroke();
  context.fill();
}

/** Draws arrows along the score in the coordinates of the plot. Their length saturates for large scores. */
function drawArrows(context, { score, size, steep }, view, place, theme, width) {
  const longest = (0.85 * width) / ARROWS;
  for (const [colour, thick] of [
    [theme.halo, 2.4],
    [theme.arrow, 1.1],
  ]) {
    context.beginPath();
    for (let a = 0; a < ARROWS; a++) {
      for (let b = 0; b < ARROWS; b++) {
        const [u, v] = [(a + 0.5) / ARROWS, (b + 0.5) / ARROWS];
        const [sx, sy] = between(score, size, u, v);
        const [du, dv] = [sx * view.width, sy * view.height];
        const slope = Math.hypot(du, dv);
        const length = longest * (slope / (slope + steep));
        if (length < 1.5) continue;
        const [x, y] = place(u, v);
        const [cos, sin] = [du / slope, -dv / slope];
        const [ex, ey] = [x + (length / 2) * cos, y + (length / 2) * sin];
        const barb = Math.min(4, 0.45 * length);
        context.moveTo(x - (length / 2) * cos, y - (length / 2) * sin);
        context.lineTo(ex, ey);
        for (const side of [0.5, -0.5]) {
          context.moveTo(ex, ey);
          context.lineTo(ex - barb * (cos + side * sin), ey - barb * (sin - side * cos));
        }
      }
    }
    context.lineCap = "round";
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
  }
}

function drawParticles(context, { trail, count }, part, place, theme) {
  const moved = (before, after, k) => before[k] + part * (after[k] - before[k]);
  const [before, after] = [trail.at(-2) ?? trail.at(-1), trail.at(-1)];
  context.lineCap = "round";
  for (let k = 0; k + 1 < trail.length; k++) {
    context.beginPath();
    for (let i = 0; i < count; i++) {
      context.moveTo(...place(trail[k][2 * i], trail[k][2 * i + 1]));
      const last = k + 2 === trail.length;
      const end = [0, 1].map((axis) =>
        last ? moved(before, after, 2 * i + axis) : trail[k + 1][2 * i + axis],
      );
      context.lineTo(...place(...end));
    }
    context.globalAlpha = (0.7 * (k + 1)) / trail.length;
    context.lineWidth = 1.4;
    context.strokeStyle = theme.particle;
    context.stroke();
  }
  context.globalAlpha = 1;
  context.beginPath();
  for (let i = 0; i < count; i++) {
    const [x, y] = place(moved(before, after, 2 * i), moved(before, after, 2 * i + 1));
    context.moveTo(x + 3.4, y);
    context.arc(x, y, 3.4, 0, 2 * Math.PI);
  }
  context.fillStyle = theme.particle;
  context.strokeStyle = theme.particleRim;
  context.lineWidth = 1.4;
  context.stroke();
  context.fill();
}

function drawCrosshair(context, [x, y], { left, top, width, height }, focused, theme) {
  const [a, b] = [Math.round(x) + 0.5, Math.round(y) + 0.5];
  const gap = 7;
  context.beginPath();
  context.moveTo(left, b);
  context.lineTo(a - gap, b);
  context.moveTo(a + gap, b);
  context.lineTo(left + width, b);
  context.moveTo(a, top);
  context.lineTo(a, b - gap);
  context.moveTo(a, b + gap);
  context.lineTo(a, top + height);
  context.moveTo(a + gap, b);
  context.arc(a, b, gap, 0, 2 * Math.PI);
  for (const [colour, thick] of [
    [theme.halo, 3],
    [theme.crosshair, focused ? 1.4 : 1],
  ]) {
    context.lineWidth = thick;
    context.strokeStyle = colour;
    context.stroke();
  }
}
