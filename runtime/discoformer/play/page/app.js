// The playground: one sample, two estimates of its density and score, side by side.

import { Computation } from "./compute.js";
import { ESTIMATORS, Engine } from "./engine.js";
import { EXAMPLES } from "./examples.js";
import { showExplanation, tellExplanation } from "./explain.js";
import { saveGrid, savePicture } from "./files.js";
import { askAtCursor, changePoints, refresh, setView, whenAnswered } from "./flow.js";
import { Follow } from "./follow.js";
import { count } from "./numbers.js";
import { changeTheme, drawMoving, drawStill, panels, whenDrawn } from "./panels.js";
import { numberAt } from "./sample.js";
import {
  chooseColumns,
  clear,
  copyLink,
  draw,
  readFile,
  removeLast,
  showExample,
  showFragment,
} from "./source.js";
import { listen } from "./stage.js";
import { START, chosen, element, state } from "./state.js";
import { wireTheme } from "./theme.js";
import { View } from "./view.js";
import { announce, enable, notify, tellBandwidth, tellBrush, tellParticles, tellStatus } from "./words.js";

const SIZES = [32, 48, 64, 96, 128]; // numbers of nodes along each side of the grid
const FIRST_SIZE = 48;
const SAID = 2000; // milliseconds for which a button says that it has done its work
const WARM = 12; // runs of the model until the first sample comes: the browser has then optimised it

const calm = matchMedia("(prefers-reduced-motion: reduce)");

state.engine = new Engine();
state.computation = new Computation(state.engine, {
  read: () => {
    state.follow.forget();
    askAtCursor();
    enable();
    if (!state.drawing) announce(`${count(state.points.length / 2)} points read`);
  },
  answered: () => {
    drawStill();
    tellStatus();
    tellExplanation();
  },
  finished,
  failed: (error) => notify(`The estimate failed: ${error.message}`),
});
state.follow = new Follow(state.engine, { moved: drawMoving, changed: tellParticles });

/** Notes how long the whole picture of a new sample took. */
async function finished() {
  await whenDrawn();
  if (state.since === null) return;
  state.took = performance.now() - state.since;
  state.since = null;
  tellStatus();
}

// --- controls ---------------------------------------------------------------------------------------------

const on = (id, event, act) => element(id).addEventListener(event, act);
const onChoice = (name, act) =>
  document.querySelectorAll(`input[name=${name}]`).forEach((input) => input.addEventListener("change", act));

function wireSample() {
  element("examples").replaceChildren(
    ...EXAMPLES.map((name) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name });
      button.dataset.name = name;
      button.addEventListener("click", () => showExample(name, 1));
      return button;
    }),
  );
  on("redraw", "click", () => showExample(state.origin.name, state.origin.seed + 1));
  on("open", "click", () => element("file").click());
  on("file", "change", ({ target }) => {
    if (target.files.length) readFile(target.files[0]);
    target.value = "";
  });
  for (const id of ["column-x", "column-y"]) on(id, "change", chooseColumns);
  on("n", "input", ({ target }) => {
    state.sample.n = numberAt(Number(target.value), state.sample.total);
    changePoints();
  });
  on("brush", "input", tellBrush);
  on("undo", "click", removeLast);
  on("clear", "click", clear);
}

function wireDrop() {
  const dropping = (is) => document.body.classList.toggle("dropping", is);
  addEventListener("dragover", (event) => {
    event.preventDefault();
    dropping(true);
  });
  addEventListener("dragleave", (event) => event.relatedTarget || dropping(false));
  addEventListener("drop", (event) => {
    event.preventDefault();
    dropping(false);
    if (event.dataTransfer.files.length) readFile(event.dataTransfer.files[0]);
  });
}

function wirePanels() {
  for (const { canvas, picture } of panels.values()) {
    listen(canvas, picture, {
      cursor: () => state.cursor ?? [0.5, 0.5],
      look: (u, v, byKey) => {
        state.cursor = [u, v];
        state.focused = byKey;
        drawMoving();
        askAtCursor(byKey);
      },
      begin: () => (state.drawing = true),
      draw,
      end: () => {
        state.drawing = false;
        refresh();
      },
      removeLast,
      zoom: (factor) => setView(state.view.zoomed(factor)),
      fit: fitView,
    });
  }
  new ResizeObserver(drawStill).observe(document.querySelector(".panels"));
}

function wirePicture() {
  element("size").replaceChildren(
    ...SIZES.map((size) => new Option(`${size} × ${size}`, size, false, size === FIRST_SIZE)),
  );
  for (const id of ["heat", "contours", "arrows", "points"]) on(id, "change", changeDisplay);
  onChoice("quantity", changeDisplay);
  on("size", "change", refresh);
  on("nearer", "click", () => setView(state.view.zoomed(0.8)));
  on("farther", "click", () => setView(state.view.zoomed(1.25)));
  on("fit", "click", fitView);
  on("bandwidth", "input", () => {
    tellBandwidth();
    refresh();
  });
  on("dismiss", "click", () => notify(null));
  addEventListener("keydown", ({ key }) => {
    if (key !== "Escape") return;
    notify(null);
    showExplanation(false);
  });
}

function changeDisplay() {
  drawStill();
  tellExplanation();
}

function wireSharing() {
  on("link", "click", async ({ target }) => {
    if (!(await copyLink())) return;
    const { textContent } = target;
    if (target.dataset.said) return;
    target.dataset.said = "yes";
    target.textContent = "Copied";
    announce("The link is copied. It holds the points.");
    setTimeout(() => {
      target.textContent = textContent;
      delete target.dataset.said;
    }, SAID);
  });
  on("save-picture", "click", savePicture);
  on("save-grid", "click", saveGrid);
  addEventListener("hashchange", showFragment);
}

function wireHeader() {
  on("explain", "click", () => showExplanation(element("explanation").hidden));
  on("close-explanation", "click", () => showExplanation(false));
  wireTheme(element("theme"), () => {
    changeTheme();
    tellExplanation();
  });
}

function wireParticles() {
  on("play", "click", () => (state.follow.playing ? state.follow.pause() : play()));
  on("remove", "click", () => {
    state.follow.remove();
    drawMoving();
  });
  onChoice("how", () => {
    state.follow.forget();
    tellParticles();
  });
}

function fitView() {
  const { points, origin } = state;
  setView(points.length ? View.around(points, origin.kind !== "file") : START);
}

async function play() {
  try {
    await state.follow.play(state.view, () => chosen("how"), calm.matches);
  } catch (error) {
    state.follow.remove();
    notify(`The particles were stopped by an error: ${error.message}`);
  }
}

// --- start ------------------------------------------------------------------------------------------------

async function start() {
  wireHeader();
  wireSample();
  wireDrop();
  wirePanels();
  wirePicture();
  wireParticles();
  wireSharing();
  tellBandwidth();
  tellBrush();
  tellParticles();
  refresh();
  showFragment();
  try {
    state.about = await state.engine.open(new URL("model/", location.href));
    element("about").textContent = `model ${state.about.name} ${state.about.version}`;
    refresh();
    for (let run = 0; run < WARM && !state.points.length; run++) await state.engine.warm();
  } catch (error) {
    element("status").textContent = "Without the model nothing can be estimated.";
    notify(`The model cannot be loaded. ${error.message}`);
  }
}

const opened = start();

const plain = ({ logDensity, score }) => ({ logDensity: Array.from(logDensity), score: Array.from(score) });

/** An interface for tests and for the console of the browser. */
window.playground = {
  /** Resolves when everything is computed, answered and drawn. */
  idle: async () => {
    await opened;
    await state.computation.idle();
    await whenAnswered();
    await whenDrawn();
  },
  points: () => Array.from(state.points),
  took: () => state.took, // milliseconds from the drop of a file, or the choice of an example, to its whole picture
  view: () => ({ ...state.view }),
  look: (x, y) => {
    state.cursor = state.view.toUnit(x, y);
    drawMoving();
    askAtCursor();
  },
  ask: async (points) => {
    const answers = await state.engine.ask(Float64Array.from(points));
    return Object.fromEntries(ESTIMATORS.map((name) => [name, plain(answers[name])]));
  },
  grid: (name) => {
    const answer = state.computation.answers[name];
    return answer && { size: answer.size, n: answer.points.length / 2, ...plain(answer) };
  },
  particles: (name) => {
    const particles = state.follow.particles?.[name];
    return particles
      ? { logDensity: Array.from(particles.logDensities ?? []), steps: particles.steps }
      : null;
  },
};
