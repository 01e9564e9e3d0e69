// What the page is about at the moment. Everything that is shown follows from this and from the controls.

import { Sample } from "./sample.js";
import { View } from "./view.js";

export const START = new View(-5, 5, -5, 5); // of the empty page

const sample = new Sample();

export const state = {
  sample,
  points: sample.used, // in use; a new array whenever they change
  origin: { kind: "hand" }, // where the sample comes from: by hand, an example of a name and seed, or a file
  view: START,
  cursor: null, // the crosshair, in unit coordinates
  focused: false, // whether keys moved it there
  drawing: false, // whether a stroke is being drawn
  about: null, // what the model says about itself, once it is open
  times: null, // what reading the sample took
  engine: null,
  computation: null,
  follow: null,
};

export const element = (id) => document.getElementById(id);

/** The radio button that is chosen of those of a name. */
export const chosen = (name) => document.querySelector(`input[name=${name}]:checked`).value;

/** The bandwidth of the KDE, over that of Scott's rule. */
export const bandwidth = () => 2 ** Number(element("bandwidth").value);

/** Where the crosshair is, in data units, or null. */
export const place = () => state.cursor && state.view.toData(...state.cursor);
