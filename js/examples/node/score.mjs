// Scores a stream: `node score.mjs sample.csv < queries.csv > scored.csv`. Both have a header and columns of numbers. To
// each query it adds the log-density and the score. It holds a block of queries at a time, so there may be any number.

import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

import { load } from "discoformer";

const BLOCK = 4096;

/** The cells of the lines of a stream, in blocks. */
async function* blocks(stream) {
  let block = [];
  for await (const line of createInterface({ input: stream })) {
    if (line.trim()) block.push(line.split(","));
    if (block.length === BLOCK) yield block.splice(0);
  }
  yield block;
}

const sample = [];
for await (const block of blocks(createReadStream(process.argv[2]))) sample.push(...block);
const columns = sample.shift();
const model = await load();
const p = await model.estimate(sample.map((row) => row.map(Number)), { columns });

let header = true;
for await (const block of blocks(process.stdin)) {
  if (header) console.log([...block.shift(), "log_density", ...columns.map((name) => `score_${name}`)].join());
  header = false;
  const { logDensity, score } = await p.logDensityAndScore({ data: block.flat().map(Number), shape: [block.length, p.dim] });
  block.forEach((row, i) => console.log([...row, logDensity[i], ...score.data.subarray(i * p.dim, (i + 1) * p.dim)].join()));
}
