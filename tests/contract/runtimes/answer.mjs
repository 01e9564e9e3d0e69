// Answers golden cases in onnxruntime-node: `node answer.mjs MODEL_FOLDER CHAIN...`; see answer.py.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import ort from "onnxruntime-node";
import { answers } from "./golden.mjs";

const [folder, ...chains] = process.argv.slice(2);
const { version } = createRequire(import.meta.url)("onnxruntime-node/package.json");
const found = await answers(ort, (name) => readFile(`${folder}/${name}`), chains);
process.stdout.write(JSON.stringify({ version, answers: found }));
