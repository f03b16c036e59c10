// Score over the learning rate: one panel a setting, one line a variant, and below it the best range of each.
const hidden = new Set(); // variants switched off in the legend
const COLUMN = Object.fromEntries(DATA.cells.columns.map((name, i) => [name, i]));
const BEST = 0.2; // what "near the peaks" shows, a fraction of all scores
let near = false;

const pointKey = (setting, variant, lr) => `${setting}|${variant}|${lr}`;
const CELLS_AT = new Map(); // the rows behind a point
DATA.cells.rows.forEach((row, i) => {
  if (row[COLUMN.setting] === null) return;
  const key = pointKey(row[COLUMN.setting], row[COLUMN.variant], row[COLUMN.lr]);
  CELLS_AT.set(key, [...(CELLS_AT.get(key) || []), i]);
});

function legend(used, changed) {
  const chips = used.map((index) =>
    el(
      "button",
      {
        type: "button",
        class: "chip",
        "aria-pressed": String(!hidden.has(index)),
        "data-variant": VARIANTS[index].name,
        title: "click: show or hide; with Shift: this one alone",
        onclick: (event) => {
          const alone = used.filter((other) => other !== index);
          if (event.shiftKey) {
            hidden.clear();
            alone.forEach((other) => hidden.add(other));
          } else if (!hidden.delete(index)) hidden.add(index);
          update();
        },
      },
      swatch(VARIANTS[index]),
      VARIANTS[index].name,
    ),
  );
  const set = (names) => {
    hidden.clear();
    names.forEach((index) => hidden.add(index));
    update();
  };
  const update = () => {
    chips.forEach((chip, i) => chip.setAttribute("aria-pressed", String(!hidden.has(used[i]))));
    changed();
  };
  const scale = el(
    "label",
    { class: "check" },
    el("input", {
      type: "checkbox",
      id: "near",
      onchange: (event) => {
        near = event.target.checked;
        changed();
      },
    }),
    "near the peaks",
  );
  return el(
    "div",
    { class: "legend", role: "group", "aria-label": "Variants shown" },
    chips,
    el(
      "span",
      { class: "actions" },
      el("button", { type: "button", class: "plain", onclick: () => set([]) }, "all"),
      el("button", { type: "button", class: "plain", onclick: () => set(used) }, "none"),
      scale,
    ),
  );
}

function curvePanel(index) {
  const setting = DATA.settings[index];
  const host = drawn((width) => curveChart(index, setting, Math.max(width, 300)), { class: "drawing panel" });
  const figure = el(
    "figure",
    {},
    el("figcaption", {}, el("strong", {}, setting.title), el("span", { class: "sub" }, setting.subtitle)),
    host,
  );
  return { figure, host };
}

function curveChart(index, setting, width) {
  const curves = setting.curves.filter((curve) => !hidden.has(curve.variant));
  const all = setting.curves.flatMap((curve) => curve.points);
  const lrs = all.map((point) => point[0]),
    tops = all.map((point) => point[1] + (point[2] || 0));
  const strip = 13,
    height = Math.min(430, Math.max(270, width * 0.42)),
    inner = { left: 58, right: width - 14, top: 12, bottom: height };
  const rows = setting.curves.length,
    full = height + 12 + strip * rows + 44;
  const high = Math.min(1, Math.max(...tops, ...setting.base, 0.01) * 1.04),
    low = near ? Math.max(0, Math.max(...all.map((point) => point[1])) - BEST) : 0;
  const x = logTried(lrs, Math.min(...lrs) / 1.2, Math.max(...lrs) * 1.2, inner.left, inner.right);
  const y = linear(100 * low, 100 * high, inner.bottom, inner.top);
  const clip = `clip-${index}`;
  const place = (lr, value) => [x.at(lr), y.at(100 * value)];
  const drawing = svg("g", { "clip-path": `url(#${clip})` });
  for (const base of setting.base) {
    const at = y.at(100 * base);
    drawing.append(
      svg(
        "line",
        { x1: inner.left, x2: inner.right, y1: at, y2: at, class: "base" },
        svg("title", {}, `untouched base model ${percent(base)} %`),
      ),
    );
  }
  const points = [];
  for (const curve of curves) {
    const style = VARIANTS[curve.variant],
      peak = setting.peaks.find((one) => one.variant === curve.variant);
    const spread = curve.points.filter((point) => isNumber(point[2]));
    const group = svg("g", { class: "curve", "data-variant": style.name });
    const shade = band(
      spread.map((p) => place(p[0], Math.min(1, p[1] + p[2]))),
      spread.map((p) => place(p[0], Math.max(0, p[1] - p[2]))),
      style,
    );
    if (shade) group.append(shade);
    group.append(
      line(
        curve.points.map((p) => place(p[0], p[1])),
        style,
      ),
    );
    for (const p of curve.points) {
      const [cx, cy] = place(p[0], p[1]),
        top = p[0] === peak.peak_lr;
      group.append(mark(style, cx, cy, top ? 6.5 : 3.8, top && peak.edge !== ""));
      points.push({ x: cx, y: cy, variant: curve.variant, point: p, setting: index, group });
    }
    drawing.append(group);
  }
  const strips = bestRanges(setting, x, { ...inner, top: height + 12, bottom: height + 12 + strip * rows }, strip);
  const node = chart(
    width,
    full,
    {
      role: "group",
      tabindex: "0",
      "aria-label":
        `${setting.title}, ${setting.subtitle}: test score over learning rate. Arrow keys go from point to point, Enter ` +
        "lists its cells.",
    },
    svg(
      "defs",
      {},
      svg(
        "clipPath",
        { id: clip },
        svg("rect", { x: inner.left - 8, y: 0, width: inner.right - inner.left + 16, height: inner.bottom + 8 }),
      ),
    ),
    frame(inner, { ...x, label: () => "" }, y, { y: "test score, %" }),
    drawing,
    frame({ ...inner, top: height + 12, bottom: height + 12 + strip * rows }, x, null, { x: "learning rate" }),
    strips,
  );
  return [node, tooltip(node, points, place, width)];
}

// One row a variant: a bar over the learning rates within `best_range` of its peak, its marker at the peak.
function bestRanges(setting, x, box, height) {
  const group = svg("g", { class: "best" });
  group.append(
    svg(
      "text",
      {
        x: 13,
        y: (box.top + box.bottom) / 2,
        class: "axis",
        "text-anchor": "middle",
        transform: `rotate(-90 13 ${(box.top + box.bottom) / 2})`,
      },
      "best",
    ),
  );
  setting.peaks.forEach((peak, i) => {
    const style = VARIANTS[peak.variant],
      at = box.top + height * (i + 0.5);
    if (hidden.has(peak.variant) || !isNumber(peak.range_low)) return;
    group.append(
      svg("line", {
        x1: x.at(peak.range_low),
        x2: x.at(peak.range_high),
        y1: at,
        y2: at,
        stroke: style.color,
        "stroke-opacity": 0.5,
        "stroke-width": 5,
      }),
      mark(style, x.at(peak.peak_lr), at, 4, peak.edge !== ""),
    );
  });
  return group;
}
