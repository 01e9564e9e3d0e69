// Times in Node, as page.html measures them in a browser: milliseconds to load, to read samples of two columns and to
// answer queries, the least of some repetitions: `node times.mjs QUERIES REPETITIONS SIZE...`.

import { released } from "./setup.mjs";

const [queries, repetitions, ...sizes] = process.argv.slice(2).map(Number);
const points = (n) => ({ data: Float64Array.from({ length: 2 * n }, (_, i) => Math.sin(i * i)), shape: [n, 2] });
const begin = performance.now();
const model = await released();
const found = { load: performance.now() - begin };
for (const n of sizes) {
  let [read, answered] = [Infinity, Infinity];
  for (let i = 0; i < repetitions; i++) {
    const start = performance.now();
    const p = await model.estimate(points(n));
    const middle = performance.now();
    await p.logDensityAndScore(points(queries));
    [read, answered] = [Math.min(read, middle - start), Math.min(answered, performance.now() - middle)];
  }
  found[n] = { read, answered };
}
console.log(JSON.stringify(found));
