// Reactions to changes: a new sample or setting updates the estimates, a moved crosshair the values beside it.

import { tellExplanation } from "./explain.js";
import { drawStill } from "./panels.js";
import { showAnswers, spoken } from "./readout.js";
import { troubleOf } from "./sample.js";
import { bandwidth, element, place, state } from "./state.js";
import { announce, enable, tellSample, tellStatus } from "./words.js";

const invitation = [...element("hint").childNodes]; // the hint on the empty page

/** Updates everything after the sample, the view or a setting has changed. */
export function refresh() {
  const { points, sample, computation, follow, view, about, drawing } = state;
  const trouble = points.length ? troubleOf(points, sample.names) : null;
  const usable = points.length > 0 && !trouble;
  element("hint").hidden = usable;
  if (!usable) {
    element("hint").replaceChildren(...(trouble ? [trouble] : invitation));
    computation.clear();
    follow.remove();
    state.answers = null;
    showAnswers(place(), sample.names, null);
  } else if (about) {
    computation.want({
      points,
      names: sample.names,
      factor: bandwidth(),
      view,
      size: Number(element("size").value),
      quick: drawing,
    });
  }
  enable();
  tellSample();
  tellStatus();
  tellExplanation();
  drawStill();
}

/** Updates everything after the points of the sample have changed. */
export function changePoints() {
  state.points = state.sample.used;
  state.since = state.took = null;
  setFragment("");
  refresh();
}

/** Puts a text behind the # of the address of the page, or removes what is there. */
export function setFragment(text) {
  if (text) history.replaceState(null, "", `#${text}`);
  else if (location.hash) history.replaceState(null, "", location.pathname + location.search);
}

/** Shows another part of the plane. */
export function setView(view) {
  state.view = view;
  state.follow.remove();
  refresh();
  askAtCursor();
}

let asking = false;
let askAgain = false;
let answered = Promise.resolve();

/** Resolves when the estimates at the crosshair are known. */
export const whenAnswered = () => answered;

/** Asks both estimators at the crosshair. If it moves before they answer, they are asked again. */
export function askAtCursor(byKey = false) {
  askAgain = true;
  if (!asking) answered = askOnAndOn(byKey);
}

async function askOnAndOn(byKey) {
  asking = true;
  try {
    while (askAgain) {
      askAgain = false;
      await ask(byKey);
    }
  } finally {
    asking = false;
  }
}

async function ask(byKey) {
  const { computation, engine, sample } = state;
  const point = place();
  const answers = point && computation.isReady ? await engine.ask(Float64Array.from(point)) : null;
  const current = computation.isReady ? answers : null;
  state.answers = current;
  showAnswers(point, sample.names, current);
  tellExplanation();
  if (byKey) announce(spoken(point, sample.names, current));
}
