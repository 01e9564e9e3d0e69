// Copies what the package holds besides its code: the model, and the licence. They are tracked once, in the repository.

import { copyFile, mkdir, rename } from "node:fs/promises";

const here = (path) => new URL(path, import.meta.url);

/** Copies a file, all of it or nothing: another process may be packing, too. */
async function copy(from, to) {
  const partial = here(`.${process.pid}.partial`);
  await copyFile(here(from), partial);
  await rename(partial, here(to));
}

await mkdir(here("models"), { recursive: true });
await copy("../models/base/mixture.onnx", "models/mixture.onnx");
await copy("../LICENSE", "LICENSE");
