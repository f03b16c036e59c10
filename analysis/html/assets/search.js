// Best validation score so far over the evaluations of each search method, its seeds as a band.
function searchSection() {
  const { methods, panels } = DATA.searches, style = Object.fromEntries(methods.map((one) => [one.name, one]));
  const parts = panels.map((panel) => {
    const names = methods.map((one) => one.name).filter((name) => panel.searches.some((one) => one.method === name));
    const columns = [
      { title: "method", left: true, rising: true, value: (row) => row.method, cell: (row) => el("span", { class: "variant" }, swatch(style[row.method]), row.method) },
      { title: "seed", value: (row) => row.seed, rising: true }, { title: "evaluations", value: (row) => row.best_so_far.length }, { title: "failed or open", value: (row) => row.failed },
      { title: "best %", value: (row) => last(row), cell: (row) => percent(last(row)) }, { title: "at", left: true, value: (row) => row.best },
    ];
    return el("div", { class: "setting" }, el("h3", {}, panel.title, el("span", { class: "sub" }, `${whole(panel.candidates)} candidates`)),
      el("div", { class: "keys" }, names.map((name) => el("span", { class: "variant" }, swatch(style[name]), name))),
      drawn((width) => progress(panel, names, style, width), { class: "drawing ranges" }), table(columns, panel.searches, { label: "searches" }).node);
  });
  return section("search", "Search", "The best validation score that a method has found after so many evaluations: mean over its seeds, and their range as a band. Higher and further left is better; methods compare only within a panel.", parts);
}

const last = (row) => row.best_so_far[row.best_so_far.length - 1];

function progress(panel, names, style, width) {
  const most = Math.max(...panel.searches.map((one) => one.best_so_far.length)), values = panel.searches.flatMap((one) => one.best_so_far).filter(isNumber);
  const [least, top] = [Math.min(...values), Math.max(...values)], room = (top - least) * 0.06 || 0.01, box = { left: 58, right: width - 14, top: 12, bottom: 260 };
  const x = linear(1, Math.max(2, most), box.left, box.right), y = linear(100 * Math.max(0, least - room), 100 * Math.min(1, top + room), box.bottom, box.top);
  const groups = names.map((name) => {
    const runs = panel.searches.filter((one) => one.method === name).map((one) => one.best_so_far), rows = [];
    for (let k = 0; k < Math.min(...runs.map((run) => run.length)); k++) {
      const at = runs.map((run) => run[k]);
      if (at.every(isNumber)) rows.push([k + 1, at.reduce((a, b) => a + b, 0) / at.length, Math.min(...at), Math.max(...at)]);
    }
    const place = (k, value) => [x.at(k), y.at(100 * value)];
    return svg("g", {}, runs.length > 1 ? band(rows.map((r) => place(r[0], r[3])), rows.map((r) => place(r[0], r[2])), style[name]) : null,
      line(rows.map((r) => place(r[0], r[1])), style[name]), rows.length ? mark(style[name], ...place(rows[rows.length - 1][0], rows[rows.length - 1][1]), 4.5) : null);
  });
  return chart(width, 302, { role: "img", "aria-label": `Best validation score over evaluations, ${panel.title}` }, frame(box, x, y, { x: "evaluations", y: "best validation score, %" }), groups);
}
