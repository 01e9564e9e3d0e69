// Golden cases answered by onnxruntime in JavaScript, for Node and browsers alike; answer.py does the same.

// Answers of chains of model files, "encode.onnx+query.onnx": {chain: {case: {output: values}}}.
// `read(name)` gives the bytes of a file in the model folder.
export async function answers(ort, read, chains) {
  const found = {};
  for (const chain of chains) {
    const files = chain.split("+");
    const kind = ["frame.onnx", "discoformer.onnx"].includes(files[0]) ? "raw" : "core";
    const cases = JSON.parse(new TextDecoder().decode(await read(`golden/${kind}.json`)));
    const sessions = [];
    for (const file of files) {
      sessions.push(await ort.InferenceSession.create(await read(file), { intraOpNumThreads: 1 }));
    }
    found[chain] = {};
    for (const [name, { inputs }] of Object.entries(cases)) {
      found[chain][name] = await answer(ort, sessions, inputs);
    }
    for (const session of sessions) await session.release();
  }
  return found;
}

async function answer(ort, sessions, inputs) {
  const values = {};
  for (const [name, { type, shape, values: data }] of Object.entries(inputs)) {
    const array = type === "float64" ? Float64Array : Float32Array;
    values[name] = new ort.Tensor(type, array.from(data), shape);
  }
  const queries = values.queries;
  Object.assign(values, { data: values.context, data_log_weights: values.log_weights }); // for frame.onnx
  for (const session of sessions) {
    const given = Object.fromEntries(session.inputNames.map((name) => [name, values[name]]));
    Object.assign(values, await session.run(given));
    if (values.linear) values.queries = toFrame(ort, queries, values.center.data, values.linear.data);
  }
  const log_density = Array.from(values.log_density.data);
  const score = Array.from(values.score.data);
  if (values.linear) fromFrame(log_density, score, queries.dims, values);
  return { log_density, score };
}

// z = (y - center) linear, rows; computed in float64, handed on in float32.
function toFrame(ort, queries, center, linear) {
  const [batches, rows, dim] = queries.dims;
  const z = new Float32Array(queries.data.length);
  for (let b = 0; b < batches; b++)
    for (let m = 0; m < rows; m++)
      for (let j = 0; j < dim; j++) {
        let sum = 0;
        for (let i = 0; i < dim; i++)
          sum += (queries.data[(b * rows + m) * dim + i] - center[b * dim + i]) * linear[(b * dim + i) * dim + j];
        z[(b * rows + m) * dim + j] = sum;
      }
  return new ort.Tensor("float32", z, queries.dims);
}

// log f(y) = log f(z) + log |det linear|, score(y) = score(z) linear^T; in place.
function fromFrame(logDensity, score, [batches, rows, dim], { log_abs_det, linear }) {
  for (let b = 0; b < batches; b++)
    for (let m = 0; m < rows; m++) {
      const row = b * rows + m;
      logDensity[row] += log_abs_det.data[b];
      const framed = score.slice(row * dim, (row + 1) * dim);
      for (let i = 0; i < dim; i++) {
        score[row * dim + i] = 0;
        for (let j = 0; j < dim; j++) score[row * dim + i] += framed[j] * linear.data[(b * dim + i) * dim + j];
      }
    }
}
