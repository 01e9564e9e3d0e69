// The grid as text: one row for each node, columns as those of `discoformer estimate`, for each estimator.

import { ESTIMATORS } from "./engine.js";

/** A CSV of the nodes of a view and the answers at them, which have one size. Numbers read back to the same values. */
export function gridCsv(names, view, answers) {
  const { size } = answers[ESTIMATORS[0]];
  const nodes = view.nodes(size);
  const asked = ["log_density", "density", ...names.map((name) => `score_${name}`)];
  const header = [...names, ...ESTIMATORS.flatMap((estimator) => asked.map((name) => `${estimator}_${name}`))];
  const lines = [header.map(quoted).join(",")];
  for (let k = 0; k < size * size; k++) {
    const row = [nodes[2 * k], nodes[2 * k + 1]];
    for (const estimator of ESTIMATORS) {
      const { logDensity, score } = answers[estimator];
      row.push(logDensity[k], Math.exp(logDensity[k]), score[2 * k], score[2 * k + 1]);
    }
    lines.push(row.join(","));
  }
  return `${lines.join("\n")}\n`;
}

const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
