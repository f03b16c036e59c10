// Best learning rates over λmax, and the median λmax of each variant and matrix.
function sharpnessSection() {
  const { comparisons, blocks, reason } = DATA.sharpness;
  const parts = comparisons.map((one) =>
    el(
      "div",
      { class: "setting" },
      el("h3", {}, one.title, el("span", { class: "sub" }, one.subtitle)),
      legendOf(one),
      drawn((width) => scatter(one, Math.min(width, 760)), { class: "drawing scatter" }),
      el(
        "ul",
        { class: "remarks" },
        one.remarks.map((remark) => el("li", {}, remark)),
      ),
    ),
  );
  if (reason) parts.push(gap(`No comparison with learning rates: ${reason}.`));
  for (const one of blocks) {
    const style = sharpStyles();
    const columns = [
      {
        title: "variant",
        left: true,
        rising: true,
        value: (row) => DATA.sharpness.variants.findIndex((each) => each.name === row[0]),
        cell: (row) => el("span", { class: "variant" }, swatch(style[row[0]], false), row[0]),
      },
      ...one.matrices.map((name, k) => ({ title: name, value: (row) => row[k + 1], cell: (row) => number(row[k + 1]) })),
    ];
    parts.push(
      el(
        "div",
        { class: "setting" },
        el("h3", {}, "Median λmax over layers", el("span", { class: "sub" }, one.title)),
        table(columns, one.rows, { label: "median λmax" }).node,
        one.unfinished ? gap(`${one.unfinished} of ${one.count} blocks did not converge.`) : null,
      ),
    );
  }
  return section(
    "sharpness",
    "Sharpness",
    "λmax is the largest Hessian eigenvalue of an adapter block at the start of training. Where sharper variants want " +
      "lower learning rates, the points fall from left to right; dashed: lr ∝ 1/λ, dotted: lr ∝ 1/√λ. Hollow: the best " +
      "learning rate is at the edge of those tried. Markers that would hide each other are moved up and down.",
    parts,
  );
}

const sharpStyles = () => Object.fromEntries(DATA.sharpness.variants.map((each) => [each.name, each]));

function legendOf(one) {
  const style = sharpStyles();
  return el(
    "div",
    { class: "legend" },
    one.points.map((p) => el("span", { class: "variant" }, swatch(style[p.variant], false), p.variant)),
  );
}

function scatter(one, width) {
  const style = sharpStyles();
  const box = { left: 90, right: width - 20, top: 12, bottom: 330 },
    xs = one.points.map((p) => p.sharpness),
    ys = one.points.map((p) => p.lr);
  const x = log(Math.min(...xs) / 1.6, Math.max(...xs) * 1.9, box.left, box.right, plain),
    y = log(Math.min(...ys) / 1.5, Math.max(...ys) * 1.5, box.bottom, box.top);
  const mean = (values) => Math.exp(values.reduce((sum, v) => sum + Math.log(v), 0) / values.length),
    centre = [mean(xs), mean(ys)];
  const fall = (slope, attributes) =>
    svg("line", {
      x1: x.at(x.low),
      x2: x.at(x.high),
      y1: y.at(centre[1] * (x.low / centre[0]) ** slope),
      y2: y.at(centre[1] * (x.high / centre[0]) ** slope),
      stroke: "#6e7781",
      "clip-path": "url(#clip-sharpness)",
      ...attributes,
    });
  // The learning rates themselves, for these are few and need not be round.
  y.ticks = [...new Set(ys)].sort((a, b) => a - b).filter((v, i, all) => i === 0 || y.at(all[i - 1]) - y.at(v) > 13);
  // Markers that would hide each other are moved up and down.
  const spotsOf = new Map(),
    free = ([a, b]) => [...spotsOf.values()].every(([c, d]) => Math.abs(a - c) > 11 || Math.abs(b - d) > 11);
  for (const p of one.points) {
    const places = one.points.flatMap((_, k) => [12 * k, -12 * k]).map((dy) => [x.at(p.sharpness), y.at(p.lr) - dy]);
    spotsOf.set(p, places.find(free) || places[0]);
  }
  return chart(
    width,
    376,
    { role: "img", "aria-label": `Best learning rate over median λmax, ${one.title}` },
    svg(
      "defs",
      {},
      svg(
        "clipPath",
        { id: "clip-sharpness" },
        svg("rect", { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top }),
      ),
    ),
    frame(box, x, y, { x: "median λmax", y: "best learning rate" }),
    fall(-1, { "stroke-dasharray": "7 5" }),
    fall(-0.5, { "stroke-dasharray": "1.5 4" }),
    isNumber(one.slope) ? fall(one.slope, { "stroke-width": 1.4 }) : null,
    one.points.map((p) => mark(style[p.variant], ...spotsOf.get(p), 5.5, p.edge !== "")),
  );
}
