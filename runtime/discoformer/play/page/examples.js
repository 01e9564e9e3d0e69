// Built-in examples. Each draws points from a density with a seeded random generator.

import { Random } from "./discoformer/random.js";

const between = (random, low, high) => low + (high - low) * random.uniform();

/** Points (2 n), each returned by a call of `one`. */
const draw = (n, one) => Float64Array.from(Array.from({ length: n }, one).flat());

function mixture(random, n) {
  const parts = Array.from({ length: 3 + Math.floor(5 * random.uniform()) }, () => {
    const angle = between(random, 0, Math.PI);
    return {
      centre: [between(random, -3, 3), between(random, -3, 3)],
      axes: [between(random, 0.2, 0.9), between(random, 0.2, 0.9)],
      turn: [Math.cos(angle), Math.sin(angle)],
      weight: between(random, 0.2, 1),
    };
  });
  const total = parts.reduce((sum, part) => sum + part.weight, 0);
  return draw(n, () => {
    let left = random.uniform() * total;
    const part = parts.find(({ weight }) => (left -= weight) <= 0) ?? parts.at(-1);
    const [u, v] = part.axes.map((axis) => axis * random.normal());
    const [cos, sin] = part.turn;
    return [part.centre[0] + cos * u - sin * v, part.centre[1] + sin * u + cos * v];
  });
}

function ring(random, n) {
  return draw(n, () => {
    const angle = between(random, 0, 2 * Math.PI);
    const radius = 2.5 + 0.25 * random.normal();
    return [radius * Math.cos(angle), radius * Math.sin(angle)];
  });
}

function moons(random, n) {
  return draw(n, () => {
    const angle = between(random, 0, Math.PI);
    const side = random.uniform() < 0.5 ? 1 : -1;
    return [
      2 * side * Math.cos(angle) - side + 0.22 * random.normal(),
      side * (2 * Math.sin(angle) - 0.6) + 0.22 * random.normal(),
    ];
  });
}

function spiral(random, n) {
  return draw(n, () => {
    const turn = 1.5 + 8 * Math.sqrt(random.uniform());
    return [
      0.33 * turn * Math.cos(turn) + 0.13 * random.normal(),
      0.33 * turn * Math.sin(turn) + 0.13 * random.normal(),
    ];
  });
}

function tails(random, n) {
  return draw(n, () => {
    // Student-t with 3 degrees of freedom, correlated
    const chi = Math.hypot(random.normal(), random.normal(), random.normal());
    const [u, v] = [(Math.sqrt(3) * random.normal()) / chi, (Math.sqrt(3) * random.normal()) / chi];
    return [u, 0.6 * u + 0.8 * v];
  });
}

function blades(random, n) {
  return draw(n, () => {
    const angle = (Math.PI / 3) * Math.floor(3 * random.uniform());
    const [u, v] = [2 * random.normal(), 0.16 * random.normal()];
    return [Math.cos(angle) * u - Math.sin(angle) * v, Math.sin(angle) * u + Math.cos(angle) * v];
  });
}

const drawers = { mixture, ring, moons, spiral, blades, tails };

export const EXAMPLES = Object.keys(drawers);

/** Points (2 n) of an example. */
export function example(name, seed, n) {
  return drawers[name](new Random(seed), n);
}
