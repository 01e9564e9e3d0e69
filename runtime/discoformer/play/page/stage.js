// The drawing surface: what pointer and keys do on a panel.

const STEP = 0.01; // of the view, by an arrow key; five times that with Shift
const SPACING = 5; // CSS pixels between points along a stroke

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/**
 * Listens on a panel's upper canvas.
 *
 * `acts` has look(u, v, byKey), begin(), draw(u, v, sprayed), end(), removeLast(), zoom(factor), fit()
 * and cursor(), which gives [u, v].
 */
export function listen(canvas, picture, acts) {
  let last = null; // where the stroke has come to

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

/** Does what a key stands for; says whether it stands for anything. */
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
