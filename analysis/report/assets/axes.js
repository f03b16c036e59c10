// Scales with their ticks, and the frame of a chart.
function linear(low, high, from, to) {
  const step = niceStep((high - low) / Math.max(2, Math.abs(to - from) / (from > to ? 45 : 70)));
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    at: (v) => from + ((v - low) / (high - low || 1)) * (to - from),
    ticks,
    label: (v) => v.toFixed(digits).replace("-", "−"),
    low,
    high,
  };
}

function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1)),
    part = (rough || 1) / power;
  return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

function log(low, high, from, to, label = formatLr) {
  const span = Math.log(high / low) || 1,
    decades = span / Math.LN10,
    wide = Math.abs(to - from) / 42;
  const subs = decades * 3 <= wide ? [1, 2, 5] : [1],
    every = subs.length > 1 ? 1 : Math.max(1, Math.ceil(decades / wide)),
    ticks = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
    if (e % every === 0)
      for (const sub of subs) {
        const v = sub * 10 ** e;
        if (v >= low * 0.999 && v <= high * 1.001) ticks.push(v);
      }
  }
  return {
    at: (v) => from + (Math.log(v / low) / span) * (to - from),
    ticks: ticks.length ? ticks : [low, high],
    label,
    low,
    high,
  };
}

const CHARACTER = 6.5; // pixels of a tick's label

// A logarithmic scale with ticks at the values tried, written where there is room, the shortest numbers first
// (as drawing.lr_ticks).
function logTried(tried, low, high, from, to) {
  const scale = log(low, high, from, to),
    ticks = [...new Set(tried)].sort((a, b) => a - b),
    written = [];
  const half = (v) => (CHARACTER * (formatLr(v).length + 1)) / 2;
  for (const v of ticks.slice().sort((a, b) => formatLr(a).length - formatLr(b).length)) {
    if (written.every((other) => Math.abs(scale.at(v) - scale.at(other)) >= half(v) + half(other))) written.push(v);
  }
  return { ...scale, ticks, label: (v) => (written.includes(v) ? formatLr(v) : "") };
}

const plain = (v) => (v >= 1e-3 && v < 1e4 ? String(Number(v.toPrecision(3))) : formatLr(v));

// Grid, tick labels and axis titles; `box` is {left, right, top, bottom} in pixels.
function frame(box, x, y, titles) {
  const parts = [];
  for (const v of x ? x.ticks : []) {
    const at = x.at(v);
    parts.push(svg("line", { x1: at, x2: at, y1: box.top, y2: box.bottom, class: "grid" }));
    if (titles.x !== undefined)
      parts.push(svg("text", { x: at, y: box.bottom + 16, class: "tick", "text-anchor": "middle" }, x.label(v)));
  }
  for (const v of y ? y.ticks : []) {
    const at = y.at(v);
    parts.push(svg("line", { x1: box.left, x2: box.right, y1: at, y2: at, class: "grid" }));
    parts.push(svg("text", { x: box.left - 7, y: at + 4, class: "tick", "text-anchor": "end" }, y.label(v)));
  }
  const middle = (box.left + box.right) / 2,
    height = (box.top + box.bottom) / 2;
  if (titles.x) parts.push(svg("text", { x: middle, y: box.bottom + 36, class: "axis", "text-anchor": "middle" }, titles.x));
  if (titles.y)
    parts.push(
      svg(
        "text",
        { x: 13, y: height, class: "axis", "text-anchor": "middle", transform: `rotate(-90 13 ${height})` },
        titles.y,
      ),
    );
  return svg("g", {}, parts);
}

const chart = (width, height, attributes, ...children) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart", ...attributes }, ...children);
