// Errors and warnings have the words of the Python package: both read tests/contract/errors.json.

import assert from "node:assert/strict";
import test from "node:test";

import { json, released } from "./setup.mjs";

const NUMBERS = { NaN, Infinity, "-Infinity": -Infinity }; // JSON has none of them
const { errors, warnings } = await json("tests/contract/errors.json");
const told = [];
const model = await released(told);

/** JSON with the numbers that it has as text, and with the names of options in JavaScript. */
function read(value) {
  if (Array.isArray(value)) return value.map(read);
  if (value && typeof value === "object") {
    const camel = (key) => key.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [camel(key), read(item)]));
  }
  return NUMBERS[value] ?? value;
}

/** Estimates, and then asks what the case asks. */
async function perform({ X, options = {}, Y, sample }) {
  const p = await model.estimate(X, options);
  if (Y) await p.logDensity(Y);
  if (sample) p.sample(sample.n, sample);
}

for (const { error, message, ending, ...given } of errors) {
  test(`error: ${given.what}`, async () => {
    await assert.rejects(perform(read(given)), { name: error, message: message + (ending?.javascript ?? "") });
  });
}

for (const { warnings: wanted, ...given } of warnings) {
  test(`warning: ${given.what}`, async () => {
    told.length = 0;
    await perform(read(given));
    assert.deepEqual(told.map(({ name, message }) => [name, message]), wanted);
  });
}
