// Perceptually uniform colour maps: curves in OKLab (Ottosson, 2020) at constant speed.
//
// The lowest value has the background colour, in the light and in the dark theme.

const LIGHT = [
  [0.985, 0.006, 95],
  [0.91, 0.055, 105],
  [0.78, 0.1, 160],
  [0.6, 0.105, 215],
  [0.42, 0.12, 262],
  [0.25, 0.1, 292],
];
const DARK = [
  [0.2, 0.018, 255],
  [0.32, 0.085, 278],
  [0.46, 0.105, 245],
  [0.62, 0.105, 200],
  [0.78, 0.12, 155],
  [0.95, 0.1, 108],
];
const STEPS = 256;
const FINE = 2048;

/** 256 colours from low to high values, each the four bytes of a pixel of ImageData. */
export function colourMap(dark) {
  const anchors = (dark ? DARK : LIGHT).map(([lightness, chroma, hue]) => {
    const angle = (hue * Math.PI) / 180;
    return [lightness, chroma * Math.cos(angle), chroma * Math.sin(angle)];
  });
  const curve = Array.from({ length: FINE }, (_, i) => along(anchors, i / (FINE - 1)));
  const lengths = [0];
  for (let i = 1; i < FINE; i++) {
    lengths.push(lengths[i - 1] + Math.hypot(...curve[i].map((value, axis) => value - curve[i - 1][axis])));
  }
  const map = new Uint8ClampedArray(4 * STEPS).fill(255);
  for (let step = 0, i = 0; step < STEPS; step++) {
    while (i < FINE - 1 && lengths[i] < (step / (STEPS - 1)) * lengths[FINE - 1]) i++;
    map.set(toRgb(curve[i]), 4 * step);
  }
  return new Uint32Array(map.buffer);
}

/** The point at t, from 0 to 1, of a smooth curve through anchors. */
function along(anchors, t) {
  const at = t * (anchors.length - 1);
  const k = Math.min(Math.floor(at), anchors.length - 2);
  const s = at - k;
  const knot = (index) => anchors[Math.max(0, Math.min(anchors.length - 1, index))];
  return anchors[k].map((_, axis) => {
    const [p, q, r, w] = [k - 1, k, k + 1, k + 2].map((index) => knot(index)[axis]);
    return q + (s / 2) * (r - p + s * (2 * p - 5 * q + 4 * r - w + s * (3 * (q - r) + w - p)));
  });
}

function toRgb([lightness, a, b]) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  return linear.map(
    (value) => 255 * (value <= 0.0031308 ? 12.92 * value : 1.055 * value ** (1 / 2.4) - 0.055),
  );
}
