// The panel that says in plain words what the page shows now.

import { overlap } from "./field.js";
import { count, short } from "./numbers.js";
import { element, state } from "./state.js";
import { isDark } from "./theme.js";

const BOX = 0.02; // side of the box around the crosshair, as a share of the view
const NEW = 1000; // points that are imagined
const FLAT = 1.02; // growth of the density across the box below which it counts as flat
const SAME = 1.05; // ratio of two densities below which they count as the same
const narrow = matchMedia("(max-width: 900px)"); // where the panel is below the first plot
const WAYS = ["right", "upper right", "top", "upper left", "left", "lower left", "bottom", "lower right"];

/** Opens or closes the panel. The focus follows. */
export function showExplanation(open) {
  const panel = element("explanation");
  if (panel.hidden === !open) return;
  panel.hidden = !open;
  element("explain").setAttribute("aria-expanded", String(open));
  document.body.classList.toggle("explained", open);
  tellExplanation();
  if (open && narrow.matches) document.querySelector(".panels").scrollIntoView();
  element(open ? "explained" : "explain").focus();
}

/** Writes the texts, if the panel is open. */
export function tellExplanation() {
  if (element("explanation").hidden) return;
  element("words").replaceChildren(
    ...explanations().flatMap(([title, text]) => [
      Object.assign(document.createElement("dt"), { textContent: title }),
      Object.assign(document.createElement("dd"), { textContent: text.replaceAll(" %", "\u00a0%") }),
    ]),
  );
}

function explanations() {
  const yours = "They stay in this browser. Only a link that you copy holds them: who has the link has the points.";
  if (!state.computation.isReady) {
    const first = "Draw points on a plot, open a file with two columns of numbers, or choose an example.";
    return [
      ["What this is", `${first} The page then shows where further points from the same source would fall.`],
      ["Your points", yours],
    ];
  }
  return [
    ["The picture", picture()],
    ["At the crosshair", crosshair()],
    ["The two estimates", estimates()],
    ["How far to trust them", trust()],
    ["Your points", yours],
  ];
}

function picture() {
  const shows = (id) => element(id).checked;
  const strong = isDark() ? "brighter" : "darker";
  const logarithmic = document.querySelector("input[value=logarithmic]").checked;
  return [
    shows("points") && `The dots are the ${count(state.points.length / 2)} points in use.`,
    "Both plots answer one question: if more points came from the same source, where would they fall?",
    shows("heat") && `The ${strong} the colour, the more of them.`,
    shows("heat") && logarithmic && "It shows the logarithm, which tells faint regions apart.",
    shows("contours") && "The innermost line encloses 25 % of them, the next ones 50, 75 and 95 %.",
    shows("arrows") && "An arrow is the score: it points to where the density grows fastest, and is long where it grows fast.",
  ]
    .filter(Boolean)
    .join(" ");
}

function crosshair() {
  const { answers } = state;
  if (!answers) return "Point at a plot, or focus it and press the arrow keys.";
  const [ours, kde] = [answers.discoformer, answers.kde];
  const [here, there] = [expected(ours.logDensity[0]), expected(kde.logDensity[0])];
  return [
    `Of ${count(NEW)} further points, DiScoFormer expects ${here} in a small box around it, ${100 * BOX} % of the view wide and high; the KDE expects ${there}.`,
    comparison(ours.logDensity[0] - kde.logDensity[0]),
    growth(ours.score),
  ].join(" ");
}

/** How many of the imagined points fall into the box. */
function expected(logDensity) {
  const { width, height } = state.view;
  const number = NEW * Math.exp(logDensity) * (BOX * width) * (BOX * height);
  return number < 1e-3 ? "fewer than one in a million" : `about ${short(number, 2)}`;
}

function comparison(difference) {
  const ratio = Math.exp(Math.abs(difference));
  if (ratio < SAME) return "Here both agree.";
  const [more, less] = difference > 0 ? ["DiScoFormer", "the KDE"] : ["the KDE", "DiScoFormer"];
  const times = ratio < 1000 ? `${short(ratio, 2)} times` : "more than 1,000 times";
  return `Here the density of ${more} is ${times} that of ${less}.`;
}

/** Where the density of DiScoFormer grows fastest on the screen. */
function growth([x, y]) {
  const [du, dv] = [x * state.view.width, y * state.view.height];
  const factor = Math.exp(Math.hypot(du, dv) * BOX);
  if (factor < FLAT) return "It hardly changes nearby: this is close to a peak, a hollow or a pass.";
  const way = WAYS[(Math.round(Math.atan2(dv, du) / (Math.PI / 4)) + 8) % 8];
  const much = factor < 1000 ? `${short(factor, 3)}-fold` : "more than 1,000-fold";
  return `By DiScoFormer it grows fastest towards the ${way}: ${much} across the box.`;
}

function estimates() {
  const { answers, reading } = state.computation;
  const shared = overlap(answers.discoformer, answers.kde);
  return [
    "The KDE (kernel density estimate) puts the same bump on every point. The slider Bandwidth sets its width.",
    `DiScoFormer is a neural network, trained once on random distributions and never on these points. It reads them in one pass, and chooses bumps of its own: their places, widths, tilts and tails.`,
    shared === null ? "" : `In view the two have ${Math.round(100 * shared)} % in common (100 %: they are the same).`,
  ]
    .filter(Boolean)
    .join(" ");
}

function trust() {
  return [
    ...state.computation.reading.warnings,
    "With fewer points both know less: move the slider Points used, and see how much the picture changes.",
    "Far from all points both guess.",
    'The Python package can refine the answer (effort="best"); this page does not.',
  ].join(" ");
}
