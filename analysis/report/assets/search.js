// Best validation score so far over the evaluations of each search method, its seeds as a band.
function searchSection() {
  const { methods, panels } = DATA.searches,
    style = Object.fromEntries(methods.map((one) => [one.name, one]));
  const parts = panels.map((panel) => {
    const names = methods.map((one) => one.name).filter((name) => panel.searches.some((one) => one.method === name));
    const columns = [
      {
        title: "method",
        left: true,
        rising: true,
        value: (row) => row.method,
        cell: (row) => el("span", { class: "variant" }, swatch(style[row.method]), row.method),
      },
      { title: "seed", value: (row) => row.seed, rising: true },
      { title: "evaluations", value: (row) => row.best_so_far.length },
      { title: "failed or open", value: (row) => row.failed },
      { title: "best %", value: (row) => last(row), cell: (row) => percent(last(row)) },
      { title: "at", left: true, value: (row) => row.best },
    ];
    return el(
      "div",
      { class: "setting" },
      el("h3", {}, panel.title, el("span", { class: "sub" }, `${whole(panel.candidates)} candidates`)),
      el(
        "div",
        { class: "keys" },
        names.map((name) => el("span", { class: "variant" }, swatch(style[name]), name)),
      ),
      drawn((width) => progress(panel, names, style, width), { class: "drawing ranges" }),
      table(columns, panel.searches, { label: "searches" }).node,
    );
  });
  return section(
    "search",
    "Search",
    "The best validation score that a method has found after so many evaluations: median over its seeds, and the middle " +
      "half of them as a band; a search that has ended counts on with its best. Higher and further left is better; " +
      "methods compare only within a panel.",
    parts,
  );
}

const last = (row) => row.best_so_far[row.best_so_far.length - 1];

// A score holds until the next one.
const steps = (points) => points.flatMap((point, i) => (i ? [[point[0], points[i - 1][1]], point] : [point]));

function progress(panel, names, style, width) {
  const most = Math.max(...panel.searches.map((one) => one.best_so_far.length)),
    found = names.map((name) => panel.progress[name]); // rows [evaluation, median, lower and upper quartile]
  const values = found.flat().flatMap((row) => row.slice(2)),
    late = found
      .map((rows) => rows[Math.min(Math.round(most / 6), rows.length - 1)])
      .filter(Boolean)
      .map((row) => row[2]);
  // As in the figure: where the first scores are far lower, the axis starts at those after a sixth of the evaluations.
  const top = Math.max(...values),
    least = Math.min(...values),
    start = Math.min(...late),
    low = start - least > top - start && top > start ? start : least;
  const room = (top - low) * 0.06 || 0.01,
    box = { left: 58, right: width - 14, top: 12, bottom: 260 };
  const x = linear(1, Math.max(2, most), box.left, box.right),
    y = linear(100 * Math.max(0, low - room), 100 * Math.min(1, top + room), box.bottom, box.top);
  const groups = names.map((name, i) => {
    const rows = found[i],
      place = (k, value) => [x.at(k), Math.min(box.bottom, y.at(100 * value))],
      along = (j) => steps(rows.map((row) => place(row[0], row[j])));
    return svg(
      "g",
      {},
      panel.searches.filter((one) => one.method === name).length > 1 ? band(along(3), along(2), style[name]) : null,
      line(along(1), style[name]),
      rows.length ? mark(style[name], ...place(rows[rows.length - 1][0], rows[rows.length - 1][1]), 4.5) : null,
    );
  });
  return chart(
    width,
    302,
    { role: "img", "aria-label": `Best validation score over evaluations, ${panel.title}` },
    frame(box, x, y, { x: "evaluations", y: "best validation score, %" }),
    groups,
  );
}
