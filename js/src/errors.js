// Errors and warnings. Each message states the value found, the value needed, and what to do. Names and words are
// those of the Python package.
//
//   DiscoformerError
//   ├── InputError                 an invalid argument or file
//   │   └── DegenerateDataError    the data have no density (a constant column, ...)
//   ├── EffortError                what was asked for needs effort "best", which this package does not offer
//   ├── ModelError                 the file of a model cannot be used
//   │   └── ModelNotFoundError     it is absent
//   ├── DeviceError                the execution provider that was asked for cannot be had
//   └── MissingExtraError          an optional package is not installed
//
// What stops a task by an AbortSignal is the reason of the signal, as for fetch.

export class DiscoformerError extends Error {
  constructor(message, options) {
    super(message, options);
    this.name = new.target.name;
  }
}

export class InputError extends DiscoformerError {}

export class DegenerateDataError extends InputError {}

export class EffortError extends DiscoformerError {}

export class ModelError extends DiscoformerError {}

export class ModelNotFoundError extends ModelError {}

export class DeviceError extends DiscoformerError {}

export class MissingExtraError extends DiscoformerError {}

/** All classes by name: a worker sends errors by name. */
export const ERRORS = {
  DiscoformerError,
  InputError,
  DegenerateDataError,
  EffortError,
  ModelError,
  ModelNotFoundError,
  DeviceError,
  MissingExtraError,
};
