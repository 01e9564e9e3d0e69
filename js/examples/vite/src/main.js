// Paints the density of two columns. The network reads the sample in a worker, so the page stays responsive; a new file
// stops what is being computed for the last one.

import { loadInWorker } from "discoformer/worker";

const told = document.querySelector("pre");
const canvas = document.querySelector("canvas");
const model = loadInWorker({ onWarning: ({ message }) => (told.textContent += `${message}\n`) });
let last = new AbortController();

document.querySelector("input").onchange = async ({ target }) => {
  last.abort();
  last = new AbortController();
  told.textContent = "";
  try {
    await paint(await target.files[0].text(), last.signal);
  } catch (error) {
    if (error.name !== "AbortError") told.textContent += error.message;
  }
};

async function paint(text, signal) {
  const rows = text.trim().split(/\r?\n/).slice(1).map((line) => line.split(",").map(Number));
  const p = await (await model).estimate(rows, { signal });
  const { width, height } = canvas;
  const [left, right, bottom, top] = [0, 1].flatMap((j) => {
    const values = rows.map((row) => row[j]);
    return [Math.min(...values), Math.max(...values)];
  });
  const pixels = Float32Array.from({ length: 2 * width * height }, (_, i) => {
    const pixel = Math.floor(i / 2);
    if (i % 2 === 0) return left + ((right - left) * (pixel % width)) / width;
    return top - ((top - bottom) * Math.floor(pixel / width)) / height;
  });
  const density = await p.density({ data: pixels, shape: [width * height, 2] }, { signal });
  const most = density.reduce((a, b) => Math.max(a, b));
  const image = new ImageData(width, height);
  density.forEach((value, i) => image.data.set([20, 60, 120, (255 * value) / most], 4 * i));
  canvas.getContext("2d").putImageData(image, 0, 0);
  told.textContent += `${p.diagnostics.n} rows; greatest density ${most.toPrecision(6)}`;
  await p.release();
}
