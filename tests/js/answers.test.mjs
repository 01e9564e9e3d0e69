// The package gives the golden answers of the released model, in Node: by onnxruntime-node, and by WebAssembly.

import assert from "node:assert/strict";
import test from "node:test";

import * as web from "../../js/node_modules/onnxruntime-web/dist/ort.node.min.mjs";
import { load } from "../../js/src/node.js";
import { goldenErrors } from "./golden.mjs";
import { MODEL, json, released } from "./setup.mjs";

const TOLERANCE = 3e-5; // the network rounds to float32; that of the Python test

for (const [name, open] of [
  ["onnxruntime-node", () => released()],
  ["onnxruntime-web", () => load({ model: MODEL, ort: web, onWarning: () => {} })],
]) {
  test(`golden answers by ${name}`, async () => {
    const cases = await json("models/base/golden/raw.json");
    assert.ok(Object.keys(cases).length >= 16);
    const errors = await goldenErrors(await open(), cases);
    for (const [key, error] of Object.entries(errors)) assert.ok(error < TOLERANCE, `${key}: ${error}`);
  });
}
