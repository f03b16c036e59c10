// Markers and lines of the variants, the same as in the figures (analysis/palette.py).
const INK = "#1b1f24";

const regular = (corners, turn = 0, radii = [1]) =>
  Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners + turn,
      radius = radii[i % radii.length];
    return [radius * Math.sin(angle), -radius * Math.cos(angle)];
  });
const PLUS = [
  [-0.36, -1],
  [0.36, -1],
  [0.36, -0.36],
  [1, -0.36],
  [1, 0.36],
  [0.36, 0.36],
  [0.36, 1],
  [-0.36, 1],
  [-0.36, 0.36],
  [-1, 0.36],
  [-1, -0.36],
  [-0.36, -0.36],
];
const turned = (points, angle) =>
  points.map(([x, y]) => [x * Math.cos(angle) - y * Math.sin(angle), x * Math.sin(angle) + y * Math.cos(angle)]);
// By matplotlib's names; [corners, 1, turn] is a star.
const SHAPES = {
  s: regular(4, Math.PI / 4, [1.15]),
  D: regular(4, 0, [1.15]),
  d: regular(4, 0, [1.2, 0.72]),
  "^": regular(3, 0, [1.2]),
  v: regular(3, Math.PI, [1.2]),
  "<": regular(3, -Math.PI / 2, [1.2]),
  ">": regular(3, Math.PI / 2, [1.2]),
  P: PLUS,
  X: turned(PLUS, Math.PI / 4),
  p: regular(5, 0, [1.1]),
  "*": regular(10, 0, [1.3, 0.55]),
  "4,1,0": regular(8, 0, [1.35, 0.6]),
  "4,1,45": regular(8, Math.PI / 4, [1.35, 0.6]),
  "3,1,0": regular(6, 0, [1.45, 0.6]),
  "3,1,180": regular(6, Math.PI, [1.45, 0.6]),
};

// A marker of radius r; hollow ones stand for what is less certain. The thin dark outline keeps light colours visible on paper.
function mark(style, x, y, r, hollow = false) {
  if (!hollow) return outline(style, x, y, r, { fill: style.color, stroke: INK, "stroke-width": 0.6 });
  return svg(
    "g",
    { class: "hollow" },
    outline(style, x, y, r, { fill: "none", stroke: INK, "stroke-width": 2.6 }),
    outline(style, x, y, r, { fill: "#fff", stroke: style.color, "stroke-width": 1.6 }),
  );
}

function outline(style, x, y, r, paint) {
  const shape = SHAPES[style.marker];
  if (!shape) return svg("circle", { cx: x, cy: y, r, ...paint });
  const d = shape.map(([dx, dy], i) => `${i ? "L" : "M"}${(x + r * dx).toFixed(2)} ${(y + r * dy).toFixed(2)}`).join("");
  return svg("path", { d: `${d}Z`, "stroke-linejoin": "round", ...paint });
}

// A line through points; null is a gap. Its thin dark casing keeps light colours visible on paper.
function line(points, style, width = 1.8) {
  let d = "",
    pen = false;
  for (const point of points) {
    if (point && point.every(Number.isFinite)) d += `${pen ? "L" : "M"}${point[0].toFixed(2)} ${point[1].toFixed(2)}`;
    pen = Boolean(point && point.every(Number.isFinite));
  }
  const common = { d, fill: "none", "stroke-linejoin": "round", "stroke-dasharray": style.dash || null };
  return svg(
    "g",
    {},
    svg("path", { ...common, stroke: INK, "stroke-width": width + 0.7 }),
    svg("path", { ...common, stroke: style.color, "stroke-width": width }),
  );
}

function band(upper, lower, style) {
  const points = [...upper, ...lower.slice().reverse()];
  if (points.length < 4) return null;
  const d = points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`).join("");
  return svg("path", { d: `${d}Z`, fill: style.color, "fill-opacity": 0.13, stroke: "none" });
}

// A small picture of marker and line, for legends and tables.
function swatch(style, wide = true) {
  const width = wide ? 30 : 14;
  return svg(
    "svg",
    { width, height: 14, viewBox: `0 0 ${width} 14`, class: "swatch", "aria-hidden": "true" },
    wide
      ? line(
          [
            [1, 7],
            [29, 7],
          ],
          style,
          1.6,
        )
      : null,
    mark(style, width / 2, 7, 4.4),
  );
}

const variantName = (index) =>
  el("span", { class: "variant" }, swatch(VARIANTS[index], false), el("span", { class: "words" }, VARIANTS[index].name));
