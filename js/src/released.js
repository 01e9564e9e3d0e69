// SHA-256 of mixture.onnx of the released models, by name and version.
//
// Written by `python tests/house/test_released_files.py` from the folders in models; do not edit.

export const RELEASED = {
  "base 11": "f0f969287d070953b43f87bf8ccddaa0b162df10c3aa0cbd221e14e6dd2f8a03",
};
