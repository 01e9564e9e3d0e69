/** A matrix: nested arrays, or a flat array by rows with its shape [rows, columns]. */
export type MatrixLike = ReadonlyArray<ArrayLike<number>> | Matrix<Float32Array | Float64Array | readonly number[]>;

/** A flat array by rows, and its shape [rows, columns]. */
export interface Matrix<T = Float64Array | Float32Array> {
  data: T;
  shape: readonly [rows: number, columns: number];
}

/** The type of the answers at queries: Float32Array for those in Float32Arrays, else Float64Array. */
export type FloatsOf<Y> = Y extends { data: Float32Array } | ReadonlyArray<Float32Array> ? Float32Array : Float64Array;

/** What a warning says. The names are those of the Python package. */
export interface Warning {
  name: "DataWarning" | "RangeWarning" | "DeviceWarning";
  message: string;
}

/** The part of onnxruntime-web and of onnxruntime-node that this package uses. */
export interface Runtime {
  InferenceSession: { create(bytes: Uint8Array, options?: object): Promise<unknown> };
  Tensor: new (type: "float32", data: Float32Array, shape: readonly number[]) => unknown;
  env?: object;
}

export interface LoadOptions {
  /** onnxruntime-web or onnxruntime-node, imported by you. By default the one of this environment is imported. */
  ort?: Runtime;
  /** URL of mixture.onnx, its path (Node), or its bytes. By default the one in this package. */
  model?: string | URL | Uint8Array | ArrayBuffer;
  /**
   * Where the network runs. "auto" is "cpu" with onnxruntime-node and "wasm" with onnxruntime-web. With "webgpu" the GPU
   * is tried on a small sample. If it cannot run the network, or differs from the CPU, the network runs on the CPU, with
   * a warning. Frame and answers are always computed on the CPU, in float64.
   */
  device?: "auto" | "cpu" | "wasm" | "webgpu";
  /** Called with each warning. By default warnings go to console.warn. */
  onWarning?: (warning: Warning) => void;
}

/** Loads a model.
 *
 * @throws {ModelNotFoundError} There is no such file.
 * @throws {ModelError} The file is damaged, or is no model.
 * @throws {MissingExtraError} onnxruntime is not installed.
 * @throws {DeviceError} The device cannot be had.
 */
export function load(options?: LoadOptions): Promise<Model>;

export interface EstimateOptions {
  /** Weights (N), not negative, of any scale; rows of weight 0 count as absent. */
  weights?: ArrayLike<number> | null;
  /** Only "fast": a mixture of Student-t distributions, in one pass of the network. "best" is an EffortError. */
  effort?: "fast" | "best";
  /** How many independent points the rows are worth; by default Kish's (sum w)^2 / sum w^2. */
  effectiveSize?: number | null;
  /** Most points of a large sample that the network reads; by default as many as it was trained to read. */
  landmarks?: number;
  /**
   * How rounded values are read. With "auto" the step of each column is found, and a value stands for a cell as wide as
   * the step. With null, values are read as they are. An object gives the steps of columns, by position or name; the
   * others are found.
   */
  rounding?: "auto" | null | Readonly<Record<string | number, number>>;
  /** What is done with rows that have NaN: "error" by default, or "drop", with a warning. */
  missing?: "error" | "drop";
  /** Names of the columns, for messages and for saved estimates. */
  columns?: readonly string[] | null;
  /** Stops the task: its promise is then rejected with the reason of the signal. */
  signal?: AbortSignal;
}

export interface AnswerOptions {
  /** Stops the task: its promise is then rejected with the reason of the signal. */
  signal?: AbortSignal;
}

/** A loaded model; made by `load`. */
export class Model {
  private constructor();
  /** What the model is, and the ranges it was trained on. */
  readonly metadata: Metadata;
  /** Where the network runs. */
  readonly device: "cpu" | "wasm" | "webgpu";
  /** SHA-256 of the file; empty where the environment cannot compute it (a page that is not on https or localhost). */
  readonly sha256: string;
  /** Reads a sample (N, D), in data units, once.
   *
   * @throws {InputError} An argument is malformed or not finite.
   * @throws {DegenerateDataError} X has a single row, a constant column or collinear columns.
   * @throws {EffortError} The effort is "best".
   */
  estimate(X: MatrixLike, options?: EstimateOptions): Promise<Estimate>;
  /** Reads the bytes of a file that `Estimate.save`, here or in Python, wrote.
   *
   * @throws {InputError} The file is no estimate, is damaged, or holds values that no estimate has.
   * @throws {EffortError} It holds an estimate with effort "best".
   * @throws {ModelError} Another model made it.
   */
  loadEstimate(bytes: Uint8Array | ArrayBuffer): Promise<Estimate>;
  /** Frees the memory of the network. Estimates go on to answer. */
  release(): Promise<void>;
}

export interface Metadata {
  readonly name: string;
  readonly version: string;
  readonly licence: string;
  /** Most rows that the network reads of a sample. */
  readonly landmarks: number;
  readonly trainedDim: readonly [least: number, most: number];
  readonly trainedContext: readonly [least: number, most: number];
}

/** Density and score of the distribution behind a sample. Log-densities are in nats, of the density in data units. */
export class Estimate {
  private constructor();
  readonly model: Model;
  /** Number of columns D. */
  readonly dim: number;
  readonly effort: "fast";
  /** Names of the columns of the sample, if it had any. */
  readonly columns: readonly string[] | null;
  readonly diagnostics: Diagnostics;
  /** Log-density (M) in nats at queries (M, D). */
  logDensity<Y extends MatrixLike>(Y: Y, options?: AnswerOptions): Promise<FloatsOf<Y>>;
  /** Density (M) at queries (M, D). */
  density<Y extends MatrixLike>(Y: Y, options?: AnswerOptions): Promise<FloatsOf<Y>>;
  /** Score (M, D), the gradient of the log-density, in 1 / data units. */
  score<Y extends MatrixLike>(Y: Y, options?: AnswerOptions): Promise<Matrix<FloatsOf<Y>>>;
  /** Both, in one pass. */
  logDensityAndScore<Y extends MatrixLike>(Y: Y, options?: AnswerOptions): Promise<LogDensityAndScore<FloatsOf<Y>>>;
  /** Independent draws (n, D). The same seed gives the same draws everywhere, but not those of Python. */
  sample(n: number, options?: { seed?: number }): Matrix<Float64Array>;
  /** The bytes of a file that `Model.loadEstimate` reads, and `discoformer.load_estimate` in Python.
   *
   * @param options.sample Whether the file holds the whole sample, too. The answers do not need it.
   */
  save(options?: { sample?: boolean }): Promise<Uint8Array<ArrayBuffer>>;
}

export interface LogDensityAndScore<T> {
  logDensity: T;
  score: Matrix<T>;
}

/** What is known about a sample once it is read. */
export interface Diagnostics {
  /** Rows of positive weight that are not far out. */
  readonly n: number;
  /** Columns. */
  readonly dim: number;
  /** How many independent points the rows are worth. */
  readonly effectiveSize: number;
  /** What the frame was found from. */
  readonly initialisation: "whitened" | "standardised";
  /** Weight of the identity in the correlation matrix. */
  readonly shrinkage: number;
  /** Points that the network reads. */
  readonly landmarks: number;
  readonly device: string;
  /** One sentence for each reason to doubt the estimate. */
  readonly warnings: readonly string[];
  readonly effort: "fast";
  readonly rank: number;
  /** To what the values of each column are rounded; 0 where they are not. */
  readonly steps: readonly number[];
  /** Value and share of each atom of each column. */
  readonly atoms: ReadonlyArray<ReadonlyArray<readonly [value: number, share: number]>>;
  readonly atomWidths: readonly number[];
  /** Columns with fewer than sqrt(n) values. */
  readonly fewValued: readonly number[];
  /** Places within its cells at which each row is read. */
  readonly copies: number;
  /** Share of the weight in rows that are not read, because they lie far out. */
  readonly leftOut: number;
  /** Share of the rows that are copies of others. */
  readonly copied: number;
  /** Share of the rows that repeat others otherwise. */
  readonly tied: number;
  /** Values that look like codes for missing values. */
  readonly codes: string;
}

/** Base class of all errors of this package. */
export class DiscoformerError extends Error {}
/** An argument or a file is invalid. */
export class InputError extends DiscoformerError {}
/** The data have no density. */
export class DegenerateDataError extends InputError {}
/** What was asked for needs effort "best". */
export class EffortError extends DiscoformerError {}
/** The file of a model cannot be used. */
export class ModelError extends DiscoformerError {}
/** The file of a model is absent. */
export class ModelNotFoundError extends ModelError {}
/** The device cannot be had. */
export class DeviceError extends DiscoformerError {}
/** onnxruntime is not installed. */
export class MissingExtraError extends DiscoformerError {}
