// The errors of the golden answers in Node, by onnxruntime-node or, given "web", by WebAssembly, as JSON.

import * as web from "../../js/node_modules/onnxruntime-web/dist/ort.node.min.mjs";
import { load } from "../../js/src/node.js";
import { goldenErrors } from "./golden.mjs";
import { MODEL, json, released } from "./setup.mjs";

const model = process.argv[2] === "web" ? await load({ model: MODEL, ort: web, onWarning: () => {} }) : await released();
console.log(JSON.stringify(await goldenErrors(model, await json("models/base/golden/raw.json"))));
