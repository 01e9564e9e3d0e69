// Saved estimates: they come back as they were, and damaged or foreign files are errors.

import assert from "node:assert/strict";
import test from "node:test";

import { readArchive, writeArchive } from "../../js/src/archive.js";
import { Random } from "../../js/src/random.js";
import { normal, released } from "./setup.mjs";

const model = await released();

/** The file of an estimate, with its entries changed, and a checksum that fits. */
async function changed(change) {
  const entries = await readArchive(await (await model.estimate(normal(50, 3, 1))).save());
  const about = JSON.parse(entries.about);
  change(about, entries);
  return writeArchive({ ...entries, about: JSON.stringify(about) });
}

test("an estimate comes back", async () => {
  for (const [n, dim] of [[2, 1], [50, 3], [2000, 2]]) {
    const p = await model.estimate(normal(n, dim, n));
    for (const sample of [false, true]) {
      const bytes = await p.save({ sample });
      const q = await model.loadEstimate(sample ? bytes : bytes.buffer);
      const queries = normal(20, dim, 2);
      assert.deepEqual(await q.logDensityAndScore(queries), await p.logDensityAndScore(queries));
      assert.deepEqual(q.diagnostics, p.diagnostics);
      assert.deepEqual(q.sample(5), p.sample(5));
      assert.deepEqual(await q.save({ sample }), bytes);
    }
  }
});

test("without its sample it cannot be saved with it", async () => {
  const q = await model.loadEstimate(await (await model.estimate(normal(2000, 2, 1))).save());
  await assert.rejects(q.save({ sample: true }), { name: "InputError", message: /needs the sample of 2000 rows/ });
});

test("one changed bit is noticed, and so is a file cut short", async () => {
  const bytes = await (await model.estimate(normal(20, 2, 1))).save();
  const random = new Random(1);
  for (let i = 0; i < 50; i++) {
    const damaged = Uint8Array.from(bytes);
    damaged[Math.floor(random.uniform() * bytes.length)] ^= 1 << Math.floor(8 * random.uniform());
    await assert.rejects(model.loadEstimate(damaged), { name: "InputError" });
    const cut = bytes.slice(0, Math.floor(random.uniform() * bytes.length));
    await assert.rejects(model.loadEstimate(cut), { name: "InputError" });
  }
});

for (const [what, change, name, message] of [
  ["format", (about) => (about.format = 5), "InputError", /has format 5, this version of discoformer reads 6/],
  ["kind", (about) => (about.kind = "else"), "InputError", /is no saved estimate/],
  ["model", (about) => (about.sha256 = "0".repeat(64)), "ModelError", /was made by the model 'base' 11/],
  ["effort", (about) => (about.diagnostics.effort = "best"), "EffortError", /effort='best'/],
  ["rank", (about) => (about.diagnostics.rank = 2), "InputError", /singular sample \(rank 2 of 3 columns\)/],
  ["count", (about) => (about.diagnostics.n = -1), "InputError", /damaged/],
  ["columns", (about) => (about.columns = ["a"]), "InputError", /columns/],
  ["shape", (_, entries) => (entries["frame.linear"].shape = [9]), "InputError", /frame.linear of shape \(9\)/],
  ["NaN", (_, entries) => (entries["frame.center"].data[0] = NaN), "InputError", /frame.center/],
  ["freedom", (_, entries) => entries["encoded.mixture_freedom"].data.fill(-1), "InputError", /freedom/],
  ["a missing array", (_, entries) => delete entries["frame.log_share"], "InputError", /frame.log_share/],
  ["an unknown array", (_, entries) => (entries.other = entries["frame.center"]), "InputError", /unknown names: other/],
  ["scale", (_, entries) => entries["encoded.mixture_scales"].data.fill(-1), "ModelError", /no covariance/],
]) {
  test(`a file with another ${what} is refused`, async () => {
    await assert.rejects(model.loadEstimate(await changed(change)), { name, message });
  });
}

test("what is no file is refused", async () => {
  for (const bytes of ["text", new Uint8Array(), new Uint8Array(100), null]) {
    await assert.rejects(model.loadEstimate(bytes), { name: "InputError" });
  }
});
