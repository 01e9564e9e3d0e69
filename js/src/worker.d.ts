import type { Estimate, EstimateOptions, LoadOptions, Matrix, MatrixLike, Metadata } from "./index.js";

export interface WorkerOptions extends Omit<LoadOptions, "ort"> {
  /** URL of the module of onnxruntime-web that the worker imports. Bundlers find onnxruntime-web by themselves. */
  ort?: string | URL;
}

/** Loads a model in a Web Worker, so that the page stays responsive. Errors are those of `load`. */
export function loadInWorker(options?: WorkerOptions): Promise<RemoteModel>;

/** A model in a worker; as `Model`. */
export interface RemoteModel {
  readonly metadata: Metadata;
  readonly device: "wasm" | "webgpu";
  readonly sha256: string;
  estimate(X: MatrixLike, options?: EstimateOptions): Promise<RemoteEstimate>;
  loadEstimate(bytes: Uint8Array | ArrayBuffer): Promise<RemoteEstimate>;
  /** Ends the worker. Estimates end with it. */
  release(): void;
}

type Answers = Omit<Estimate, "model" | "sample">;

/** An estimate in a worker; as `Estimate`, but `sample` is a promise too. */
export interface RemoteEstimate extends Answers {
  readonly model: RemoteModel;
  sample(n: number, options?: { seed?: number }): Promise<Matrix<Float64Array>>;
  /** Frees the memory of the estimate in the worker. */
  release(): Promise<void>;
}
