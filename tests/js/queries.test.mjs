// Samples and queries in every form, of every size; stops; the event loop.

import assert from "node:assert/strict";
import test from "node:test";

import * as ort from "../../js/node_modules/onnxruntime-node/dist/index.js";
import { load } from "../../js/src/node.js";
import { MODEL, json, normal, released } from "./setup.mjs";

const model = await released();

const nested = ({ data, shape: [n, dim] }) =>
  Array.from({ length: n }, (_, i) => Array.from(data.subarray(i * dim, (i + 1) * dim)));

test("all forms of a matrix are read alike", async () => {
  const X = normal(40, 3, 1);
  const Y = normal(7, 3, 2);
  const wanted = await (await model.estimate(X)).logDensityAndScore(Y);
  for (const form of [nested, (m) => nested(m).map((row) => Float64Array.from(row)), (m) => ({ ...m, data: [...m.data] })]) {
    assert.deepEqual(await (await model.estimate(form(X))).logDensityAndScore(form(Y)), wanted);
  }
  const single = { ...Y, data: Float32Array.from(Y.data) };
  for (const form of [single, nested(single).map((row) => Float32Array.from(row))]) {
    const { logDensity, score } = await (await model.estimate(X)).logDensityAndScore(form);
    assert.ok(logDensity instanceof Float32Array && score.data instanceof Float32Array);
    logDensity.forEach((value, i) => assert.ok(Math.abs(value - wanted.logDensity[i]) < 1e-5));
  }
});

test("answers of all methods agree, for any number of queries and columns", async () => {
  for (const dim of [1, 2, 5]) {
    const p = await model.estimate(normal(60, dim, dim));
    assert.equal(p.dim, dim);
    const many = normal(3001, dim, 4);
    const all = await p.logDensityAndScore(many);
    for (const rows of [0, 1, 2, 999, 3001]) {
      const Y = { data: many.data.slice(0, rows * dim), shape: [rows, dim] };
      assert.deepEqual(await p.logDensity(Y), all.logDensity.slice(0, rows));
      assert.deepEqual(await p.density(Y), all.logDensity.slice(0, rows).map(Math.exp));
      assert.deepEqual(await p.score(Y), { data: all.score.data.slice(0, rows * dim), shape: [rows, dim] });
    }
  }
});

test("the order of rows, and a shift and scale of the columns, do not matter", async () => {
  const X = nested(normal(80, 2, 6));
  const Y = nested(normal(9, 2, 7));
  const p = await model.estimate(X);
  const q = await model.estimate([...X].reverse());
  assert.deepEqual(await q.logDensity(Y), await p.logDensity(Y));
  const map = (rows) => rows.map(([a, b]) => [3e6 + 1e3 * a, -2 * b]);
  const moved = await (await model.estimate(map(X))).logDensity(map(Y));
  (await p.logDensity(Y)).forEach((value, i) => assert.ok(Math.abs(moved[i] + Math.log(2e3) - value) < 1e-4));
});

test("points however far away have finite answers", async () => {
  const p = await model.estimate(normal(50, 2, 1));
  const far = [1e3, 1e10, 1e20, 1e150, 1e300, 1.7e308].flatMap((x) => [[x, -x], [-x, 0]]);
  const { logDensity, score } = await p.logDensityAndScore(far);
  assert.ok(logDensity.every(Number.isFinite) && score.data.every(Number.isFinite));
  for (let i = 2; i < far.length; i++) assert.ok(logDensity[i] <= logDensity[i - 2]);
});

test("repeated and weighted rows are alike", async () => {
  const X = nested(normal(60, 2, 3));
  const Y = nested(normal(5, 2, 4));
  const options = { effectiveSize: 60, rounding: null };
  const weights = X.map((_, i) => (i < 20 ? 2 : 1));
  const weighted = await model.estimate(X, { ...options, weights });
  const repeated = await model.estimate([...X, ...X.slice(0, 20)], options);
  const wanted = await weighted.logDensity(Y);
  (await repeated.logDensity(Y)).forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) < 2e-2, `${value}`));
});

test("other tasks run while many queries are answered, and a signal stops them", async () => {
  const p = await model.estimate(normal(512, 2, 1));
  const many = normal(200_000, 2, 2);
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await p.logDensity(many);
  clearInterval(timer);
  assert.ok(turns > 3, `${turns} turns`);
  const reason = new Error("enough");
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 5);
  await assert.rejects(p.score(many, { signal: controller.signal }), reason);
  await assert.rejects(p.logDensity([[0, 0]], { signal: AbortSignal.abort(reason) }), reason);
  await assert.rejects(model.estimate([[0, 0]], { signal: AbortSignal.abort(reason) }), reason);
});

test("samples that are read at the same time do not disturb each other", async () => {
  const samples = [1, 2, 3, 4].map((seed) => normal(30 * seed, 2, seed));
  const one = [];
  for (const X of samples) one.push(await (await model.estimate(X)).logDensity([[0, 0]]));
  const together = await Promise.all(samples.map(async (X) => (await model.estimate(X)).logDensity([[0, 0]])));
  assert.deepEqual(together, one);
});

test("what is not offered, or is no matrix, is an error", async () => {
  const X = normal(20, 2, 1);
  const rejected = (promise, name, message) => assert.rejects(promise, { name, message });
  await rejected(model.estimate(X, { effort: "best" }), "EffortError", /encode.onnx and query.onnx/);
  await rejected(model.estimate(X.data), "InputError", /pass \{data, shape: \[rows, columns\]\}/);
  await rejected(model.estimate({ data: X.data, shape: [3, 2] }), "InputError", /must have 6 values/);
  await rejected(model.estimate([[1, 2], [3]]), "InputError", /2 values in row 0 and 1 values in row 1/);
  await rejected(model.estimate([[1, "a"], [2, 3]]), "InputError", /got 'a' in row 0, column 1/);
  await rejected(model.estimate("X"), "InputError", /nested arrays/);
  await rejected(model.estimate(X, { columns: ["a"] }), "InputError", /columns must be 2 names/);
  await rejected(model.estimate(X, { rounding: "no" }), "InputError", /rounding must be 'auto'/);
  await rejected(model.estimate(X, { rounding: { 5: 1 } }), "InputError", /positions from 0 to 1/);
  await rejected(model.estimate(X, { columns: ["a", "b"], rounding: { a: -1 } }), "InputError", /got -1 for a/);
  const names = model.estimate([[1, NaN]], { columns: ["a", "b"] });
  await rejected(names, "InputError", /column 1 \('b'\)/);
});

test("what is no model is an error", async () => {
  const opened = (options) => load({ ort, ...options });
  await assert.rejects(opened({ model: "nowhere.onnx" }), { name: "ModelNotFoundError", message: /nowhere.onnx/ });
  await assert.rejects(opened({ model: new Uint8Array(50) }), { name: "ModelError" });
  await assert.rejects(opened({ model: MODEL, device: "tpu" }), { name: "InputError", message: /'webgpu', got 'tpu'/ });
  await assert.rejects(opened({ model: MODEL, device: "wasm" }), { name: "DeviceError" });
  await assert.rejects(load({ model: MODEL, ort: {} }), { name: "InputError", message: /import one, and pass it/ });
  const told = [];
  const cpu = await opened({ model: MODEL, device: "webgpu", onWarning: (warning) => told.push(warning.name) });
  assert.deepEqual([cpu.device, told], ["cpu", ["DeviceWarning"]]);
  await cpu.release();
});

test("a changed file with the name of a released model is refused", async () => {
  const { readFile } = await import("node:fs/promises");
  const bytes = new Uint8Array(await readFile(MODEL));
  bytes[bytes.length >> 1] ^= 1; // in the weights
  await assert.rejects(load({ ort, model: bytes }), { name: "ModelError", message: /says that it is 'base' 11/ });
});

test("the metadata are those of the Python package", async () => {
  const { model: about, mixture } = await json("models/base/config.json");
  assert.equal(model.metadata.name, about.name);
  assert.equal(model.metadata.version, mixture.version);
  assert.deepEqual(model.metadata.trainedContext, [about.trained_context_min, about.trained_context_max].map(Number));
});
