// Golden cases of the released model, answered by the package, for Node and browsers alike.

/** The error of each case: the greater of those of log-densities and scores, |got - wanted| / (1 + greatest wanted). */
export async function goldenErrors(model, cases) {
  const errors = {};
  for (const [name, { inputs, outputs }] of Object.entries(cases)) {
    errors[name] = 0;
    for (let b = 0; b < inputs.context.shape[0]; b++) {
      const weights = part(inputs.log_weights, b).data.map(Math.exp);
      const p = await model.estimate(part(inputs.context, b), { weights, rounding: null }); // as the raw file reads it
      const { logDensity, score } = await p.logDensityAndScore(part(inputs.queries, b));
      const found = [error(logDensity, part(outputs.log_density, b)), error(score.data, part(outputs.score, b))];
      errors[name] = Math.max(errors[name], ...found);
    }
  }
  return errors;
}

/** One data set of an array of several. */
function part({ shape: [sets, ...shape], values }, b) {
  const size = values.length / sets;
  return { data: values.slice(b * size, (b + 1) * size), shape };
}

export function error(got, { data }) {
  if (got.length !== data.length) return Infinity;
  let [worst, greatest] = [0, 0];
  data.forEach((wanted, i) => {
    worst = Math.max(worst, Number.isFinite(got[i]) ? Math.abs(got[i] - wanted) : Infinity);
    greatest = Math.max(greatest, Math.abs(wanted));
  });
  return worst / (1 + greatest);
}
