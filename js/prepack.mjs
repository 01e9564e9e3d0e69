// Copies what the package holds besides its code: the model, and the licence. They are tracked once, in the repository.

import { copyFile, mkdir } from "node:fs/promises";

const here = (path) => new URL(path, import.meta.url);

await mkdir(here("models"), { recursive: true });
await copyFile(here("../models/base/mixture.onnx"), here("models/mixture.onnx"));
await copyFile(here("../LICENSE"), here("LICENSE"));
