// Golden cases answered by onnxruntime in JavaScript, for Node and browsers alike; answer.py does the same.

// Answers of chains of model files, "encode.onnx+query.onnx": {chain: {case: {output: values}}}.
// `read(name)` gives the bytes of a file in the model folder.
export async function answers(ort, read, chains) {
  const found = {};
  for (const chain of chains) {
    const files = chain.split("+");
    const kind = chain === "discoformer.onnx" ? "raw" : "framed";
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
  for (const session of sessions) {
    const given = Object.fromEntries(session.inputNames.map((name) => [name, values[name]]));
    Object.assign(values, await session.run(given));
  }
  return { log_density: Array.from(values.log_density.data), score: Array.from(values.score.data) };
}
