// The state of the page. Everything shown follows from it and from the controls.

import { Sample } from "./sample.js";
import { View } from "./view.js";

export const START = new View(-5, 5, -5, 5); // the view of the empty page

const sample = new Sample();

export const state = {
  sample,
  points: sample.used, // the points in use; a new array whenever they change
  origin: { kind: "hand" }, // source of the sample: drawn by hand, an example (with name and seed), or a file
  view: START,
  cursor: null, // the crosshair, in unit coordinates
  answers: null, // of the estimators at the crosshair, by name
  focused: false, // whether the crosshair was moved by keys
  drawing: false, // whether a stroke is being drawn
  since: null, // when the sample was dropped or chosen, by performance.now(), until its picture is there
  took: null, // the milliseconds from then to the picture
  about: null, // metadata of the model, once it is loaded
  engine: null,
  computation: null,
  follow: null,
};

export const element = (id) => document.getElementById(id);

/** The value of the chosen radio button in a group. */
export const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

/** The bandwidth of the KDE divided by that of Scott's rule. */
export const bandwidth = () => 2 ** Number(element("bandwidth").value);

/** The position of the crosshair in data units, or null. */
export const place = () => state.cursor && state.view.toData(...state.cursor);
