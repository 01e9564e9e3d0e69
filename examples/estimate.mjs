// Density and score in Node: `npm install onnxruntime-node`, then `node estimate.mjs discoformer.onnx data.csv`.
import { readFileSync } from "node:fs";
import ort from "onnxruntime-node";

const [model, data] = process.argv.slice(2);
const rows = readFileSync(data, "utf8").trim().split("\n").slice(1).map((line) => line.split(",").map(Number));
const tensor = (values, ...shape) => new ort.Tensor("float64", Float64Array.from(values), shape);

const session = await ort.InferenceSession.create(model);
const { log_density, score } = await session.run({
  context: tensor(rows.flat(), 1, rows.length, 2), // (1, N, D): the sample, in any units
  queries: tensor([1.4, 0.2, 3.0, 0.8], 1, 2, 2), // (1, M, D): where to answer
  log_weights: tensor(rows.map(() => 0), 1, rows.length), // (1, N): every row counts alike
});
for (const m of [0, 1]) console.log(log_density.data[m], ...score.data.slice(2 * m, 2 * m + 2));
