// The drawing surface: actions of the pointer and the keyboard on a panel.

const STEP = 0.01; // movement by an arrow key, as a share of the view; five times that with Shift
const SPACING = 5; // smallest distance between points along a stroke, in CSS pixels

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Listens to events on the upper canvas of a panel.
 *
 * `acts` has look(u, v, byKey), begin(), draw(u, v, sprayed), end(), removeLast(), zoom(factor), fit()
 * and cursor(), which returns [u, v].
 */
export function listen(canvas, picture, acts) {
  let last = null; // the last position of the stroke

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !picture.holds(event)) return;
    canvas.setPointerCapture(event.pointerId);
    last = [event.clientX, event.clientY];
    acts.begin();
    acts.draw(...picture.unitOf(event), false);
  });
  canvas.addEventListener("pointermove", (event) => {
    acts.look(...picture.unitOf(event), false);
    if (!last) return;
    for (const moved of event.getCoalescedEvents?.() ?? [event]) {
      if (Math.hypot(moved.clientX - last[0], moved.clientY - last[1]) < SPACING) continue;
      last = [moved.clientX, moved.clientY];
      acts.draw(...picture.unitOf(moved), true);
    }
  });
  const end = () => {
    if (last) acts.end();
    last = null;
  };
  canvas.addEventListener("pointerup", end);
  canvas.addEventListener("pointercancel", end);
  canvas.addEventListener("focus", () => acts.look(...acts.cursor(), true));

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!press(event.key, event.shiftKey, acts)) return;
    event.preventDefault();
  });
}

/** Performs the action of a key; returns whether the key has one. */
function press(key, shift, acts) {
  const [u, v] = acts.cursor();
  if (key in ARROWS) {
    const step = STEP * (shift ? 5 : 1);
    const moved = [u + step * ARROWS[key][0], v + step * ARROWS[key][1]];
    acts.look(...moved.map((value) => Math.max(0, Math.min(1, value))), true);
  } else if (key === "Enter" || key === " ") {
    acts.draw(u, v, false);
    acts.end();
  } else if (key === "Delete" || key === "Backspace") acts.removeLast();
  else if (key === "+" || key === "=") acts.zoom(0.8);
  else if (key === "-") acts.zoom(1.25);
  else if (key === "0") acts.fit();
  else return false;
  return true;
}
