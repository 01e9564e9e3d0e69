// Types of the package at work; `tsc --noEmit` checks them.

import { DegenerateDataError, load, type Estimate, type Matrix, type MatrixLike } from "discoformer";
import { loadInWorker } from "discoformer/worker";
import * as ort from "onnxruntime-web";

/** The score of queries, by an estimate from a sample; null if the sample has no density. */
export async function scoreOf(sample: MatrixLike, queries: MatrixLike, signal: AbortSignal): Promise<Matrix | null> {
  const model = await load({ ort, device: "wasm", onWarning: ({ name, message }) => console.info(name, message) });
  try {
    const p: Estimate = await model.estimate(sample, { weights: null, effort: "fast", rounding: { 0: 0.1 }, signal });
    return await p.score(queries, { signal });
  } catch (error) {
    if (error instanceof DegenerateDataError) return null;
    throw error;
  } finally {
    await model.release();
  }
}

/** The mean of the log-density of rows, in a worker. */
export async function meanLogDensity(rows: Float32Array, dim: number, saved: ArrayBuffer): Promise<number> {
  const model = await loadInWorker({ ort: "/ort.wasm.bundle.min.mjs" });
  const p = await model.loadEstimate(saved);
  const found = await p.logDensity({ data: rows, shape: [rows.length / dim, dim] });
  const draws: Matrix<Float64Array> = await p.sample(10, { seed: 1 });
  return found.reduce((sum: number, value: number) => sum + value, 0) / found.length + 0 * draws.data[0]!;
}

// @ts-expect-error The effort has a name.
export const wrong = (p: Awaited<ReturnType<typeof load>>) => p.estimate([[1]], { effort: "quick" });
