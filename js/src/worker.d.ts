import type { AnswerOptions, Diagnostics, EstimateOptions, Floats, LoadOptions, Matrix, MatrixLike, Metadata } from "./index.js";

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

/** An estimate in a worker; as `Estimate`, but `sample` is a promise too. */
export interface RemoteEstimate {
  readonly model: RemoteModel;
  readonly dim: number;
  readonly effort: "fast";
  readonly columns: readonly string[] | null;
  readonly diagnostics: Diagnostics;
  logDensity(Y: MatrixLike, options?: AnswerOptions): Promise<Floats>;
  density(Y: MatrixLike, options?: AnswerOptions): Promise<Floats>;
  score(Y: MatrixLike, options?: AnswerOptions): Promise<Matrix>;
  logDensityAndScore(Y: MatrixLike, options?: AnswerOptions): Promise<{ logDensity: Floats; score: Matrix }>;
  sample(n: number, options?: { seed?: number }): Promise<Matrix<Float64Array>>;
  save(options?: { sample?: boolean }): Promise<Uint8Array<ArrayBuffer>>;
  /** Frees the memory of the estimate in the worker. */
  release(): Promise<void>;
}
