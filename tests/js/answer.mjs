// Answers cases of samples and queries, read as JSON from standard input; see test_parity.py. Each case has X and Y, and
// may have weights, options and the path of a file to save the estimate to, or to load it from.

import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";

import { released } from "./setup.mjs";

const warnings = [];
const model = await released(warnings);
const found = [];
for (const { X, Y, options = {}, save, load, sample = false } of JSON.parse(await text(process.stdin))) {
  warnings.length = 0;
  const p = load ? await model.loadEstimate(await readFile(load)) : await model.estimate(X, options);
  if (save) await writeFile(save, await p.save({ sample }));
  const { logDensity, score } = await p.logDensityAndScore(Y);
  found.push({
    logDensity: Array.from(logDensity),
    score: Array.from(score.data),
    diagnostics: p.diagnostics,
    columns: p.columns,
    told: warnings.map(({ message }) => message),
  });
}
process.stdout.write(JSON.stringify(found));
