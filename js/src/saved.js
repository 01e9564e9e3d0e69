// An estimate in one file, as the Python package writes and reads it. See docs/saved_format.md.

import { readArchive, writeArchive } from "./archive.js";
import { DiscoformerError, EffortError, InputError, ModelError } from "./errors.js";
import { Frame } from "./frame.js";
import { requiredSha256 } from "./hash.js";
import { OUTPUTS } from "./reading.js";
import { checkAbout, checkArrays } from "./saved_checks.js";

export const FORMAT = 6; // raised when the meaning of the entries changes
const KIND = "discoformer estimate";
const DIAGNOSTICS = {
  n: "n",
  dim: "dim",
  effectiveSize: "effective_size",
  initialisation: "initialisation",
  shrinkage: "shrinkage",
  landmarks: "landmarks",
  device: "device",
  warnings: "warnings",
  effort: "effort",
  rank: "rank",
  steps: "steps",
  atoms: "atoms",
  atomWidths: "atom_widths",
  fewValued: "few_valued",
  copies: "copies",
  leftOut: "left_out",
  copied: "copied",
  tied: "tied",
  codes: "codes",
};
const FRAME = {
  center: "center",
  linear: "linear",
  logAbsDet: "log_abs_det",
  precisionRoot: "precision_root",
  logDetPrecision: "log_det_precision",
  effectiveSize: "effective_size",
  shrinkage: "shrinkage",
  logShare: "log_share",
};

/** The bytes of a file. `held` is what an estimate holds; `sample` says whether the file holds the sample. */
export async function saveEstimate(held, sample) {
  const { model, frame, diagnostics, columns, arrays, reading, data, spread } = held;
  const whole = data !== null || reading.landmarksAreSample;
  if (sample && !whole) {
    throw new InputError(
      `sample=true needs the sample of ${diagnostics.n} rows, but the estimate was read from a file without it: ` +
        "estimate again from the data, or save with sample=false",
    );
  }
  const { name, version } = model.metadata;
  const about = {
    kind: KIND,
    format: FORMAT,
    model: name,
    version,
    sha256: await hashOfFiles(model),
    diagnostics: renamed(diagnostics, DIAGNOSTICS),
    columns,
    most_landmarks: reading.mostLandmarks,
    landmarks_are_sample: reading.landmarksAreSample,
    allow_singular: false,
  };
  const entries = { about: JSON.stringify(about), "frame.initialisation": frame.initialisation };
  for (const [key, value] of Object.entries(renamed(frame, FRAME))) entries[`frame.${key}`] = shaped(key, value, frame.dim);
  const n = arrays.log_weights.length;
  for (const [key, value] of Object.entries(arrays)) {
    entries[`encoded.${key}`] = { data: value, shape: shapeOf(key, n, arrays[OUTPUTS[0]].length, frame.dim) };
  }
  if (data && (sample || (spread && reading.landmarksAreSample))) {
    Object.assign(entries, contextOf("data", data, frame.dim), spread ? contextOf("spread", spread, frame.dim) : {});
  }
  return writeArchive(entries);
}

/** What an estimate holds, from the bytes of a file and the model that made it. */
export async function readEstimate(bytes, model) {
  if (!(bytes instanceof Uint8Array || bytes instanceof ArrayBuffer)) {
    throw new InputError("a saved estimate must be the bytes of its file, a Uint8Array or an ArrayBuffer");
  }
  let about;
  let entries;
  try {
    entries = await readArchive(bytes instanceof ArrayBuffer ? new Uint8Array(bytes) : bytes);
    about = JSON.parse(entries.about);
    delete entries.about;
    checkFormat(about);
    checkAbout(about);
    checkArrays(entries, about);
  } catch (error) {
    if (error instanceof DiscoformerError) throw error;
    throw new InputError(
      `the file is no saved estimate, or is damaged (${error.message}): save it again by Estimate.save`,
      { cause: error },
    );
  }
  await checkModel(about, model);
  return held(about, entries, model);
}

function held(about, entries, model) {
  const fields = Object.fromEntries(
    Object.entries(FRAME).map(([name, key]) => {
      const { data, shape } = entries[`frame.${key}`];
      return [name, shape.length ? data : data[0]];
    }),
  );
  const diagnostics = Object.fromEntries(
    Object.entries(DIAGNOSTICS).map(([name, key]) => [name, about.diagnostics[key]]),
  );
  const context = (name) =>
    entries[`${name}.points`] ? { points: entries[`${name}.points`].data, weights: entries[`${name}.weights`].data } : null;
  const single = (name) => Float32Array.from(entries[`encoded.${name}`].data);
  return {
    frame: new Frame({ ...fields, initialisation: entries["frame.initialisation"] }),
    diagnostics: { ...diagnostics, device: model.device },
    columns: about.columns,
    arrays: Object.fromEntries(["context", "log_weights", ...OUTPUTS].map((name) => [name, single(name)])),
    reading: { mostLandmarks: about.most_landmarks, landmarksAreSample: about.landmarks_are_sample },
    data: context("data"),
    spread: context("spread"),
  };
}

function checkFormat(about) {
  if (about?.kind !== KIND) throw new RangeError(`kind is ${JSON.stringify(about?.kind)}`);
  if (about.format !== FORMAT) {
    throw new InputError(
      `the file has format ${String(about.format).slice(0, 80)}, this version of discoformer reads ${FORMAT}: ` +
        "estimate again from the data and save that, or use the version that wrote it",
    );
  }
  if (about.diagnostics?.effort === "best") {
    throw new EffortError(
      "the file holds an estimate with effort='best', whose answers need graphs that this package does not run: read " +
        "it in Python, or estimate again with effort='fast'",
    );
  }
  if (about.diagnostics?.rank < about.diagnostics?.dim) {
    throw new InputError(
      `the file holds an estimate of a singular sample (rank ${about.diagnostics.rank} of ${about.diagnostics.dim} ` +
        "columns), which this package does not read: read it in Python",
    );
  }
}

async function checkModel(about, model) {
  const { name, version } = model.metadata;
  const found = await hashOfFiles(model);
  if (about.sha256 === found) return;
  throw new ModelError(
    `the file was made by the model '${about.model.slice(0, 80)}' ${about.version.slice(0, 80)} (SHA-256 of its files ` +
      `${about.sha256.slice(0, 12)}), got '${name}' ${version} (${found.slice(0, 12)}): load the one that made it, or ` +
      "estimate again",
  );
}

/** The hash by which Python names the files of a model: of the hashes of its files, here of one. */
const hashOfFiles = async (model) => requiredSha256(new TextEncoder().encode(model.sha256));

const renamed = (fields, names) => Object.fromEntries(Object.entries(names).map(([from, to]) => [to, fields[from]]));

function shaped(key, value, dim) {
  if (typeof value === "number") return { data: Float64Array.of(value), shape: [] };
  return { data: value, shape: key === "center" ? [dim] : [dim, dim] };
}

function shapeOf(key, n, count, dim) {
  const shapes = {
    context: [1, n, dim],
    log_weights: [1, n],
    mixture_log_weights: [1, count],
    mixture_means: [1, count, dim],
    mixture_scales: [1, count, dim, dim],
    mixture_freedom: [1, count],
  };
  return shapes[key];
}

const contextOf = (name, { points, weights }, dim) => ({
  [`${name}.points`]: { data: points, shape: [weights.length, dim] },
  [`${name}.weights`]: { data: weights, shape: [weights.length] },
});
