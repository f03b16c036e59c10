// Parts of a cell's view: curves along training, completions, configuration.
function curves(row, detail) {
  const steps = DATA.cells.steps[detail.steps],
    style = { ...VARIANTS[row[COLUMN.variant]], dash: "" },
    parts = [];
  if (detail.loss.some(isNumber)) {
    const runs = steps.length > 1 ? Math.max(...steps.map((step, k) => step - (steps[k - 1] || 0))) : 1;
    parts.push(
      el(
        "figure",
        {},
        el(
          "figcaption",
          {},
          el("strong", {}, "Training loss"),
          el("span", { class: "sub" }, runs > 1 ? `each point the mean of up to ${runs} steps` : "every step"),
        ),
        drawn((width) =>
          curve(
            width,
            steps.map((step, k) => [step, detail.loss[k]]),
            null,
            style,
            "loss",
          ),
        ),
      ),
    );
  } else parts.push(gap("The record has no finite loss."));
  if (detail.sharpness.length) {
    const rows = detail.sharpness;
    parts.push(
      el(
        "figure",
        {},
        el(
          "figcaption",
          {},
          el("strong", {}, "Sharpness along training"),
          el("span", { class: "sub" }, "λmax: median over the measured blocks, and their range"),
        ),
        drawn((width) =>
          curve(
            width,
            rows.map((one) => [one[0], one[2]]),
            rows.map((one) => [one[0], one[1], one[3]]),
            style,
            "λmax",
          ),
        ),
      ),
    );
  }
  return el("div", { class: "panels" }, parts);
}

function curve(width, points, area, style, title) {
  const values = [...points.map((p) => p[1]), ...(area || []).flatMap((p) => p.slice(1))].filter(isNumber),
    box = { left: 58, right: width - 14, top: 10, bottom: 220 };
  const positive = area && Math.min(...values) > 0;
  const x = linear(Math.min(0, points[0][0]), points[points.length - 1][0] || 1, box.left, box.right);
  const y = positive
    ? log(Math.min(...values) / 1.2, Math.max(...values) * 1.2, box.bottom, box.top, plain)
    : linear(Math.min(0, ...values), Math.max(...values) * 1.05 || 1, box.bottom, box.top);
  const at = (step, value) => (isNumber(value) ? [x.at(step), y.at(value)] : null);
  return chart(
    width,
    262,
    { role: "img", "aria-label": `${title} over training steps` },
    frame(box, x, y, { x: "step", y: title }),
    area
      ? band(
          area.map((p) => at(p[0], p[2])),
          area.map((p) => at(p[0], p[1])),
          style,
        )
      : null,
    line(
      points.map((p) => at(p[0], p[1])),
      style,
      1.5,
    ),
    points.length < 20 ? points.filter((p) => isNumber(p[1])).map((p) => mark(style, ...at(p[0], p[1]), 3.4)) : null,
  );
}

function completions(row, detail) {
  const parts = detail.answers.map(([problem, points, text]) => {
    const one = DATA.cells.problems[problem];
    return el(
      "article",
      { class: points >= 1 ? "answer right" : "answer wrong" },
      el(
        "p",
        { class: "head" },
        grade(points),
        el("span", { class: "sub" }, `${one.set} ${one.id} · right: `, el("code", {}, one.gold)),
      ),
      el("details", {}, el("summary", {}, "prompt"), el("pre", {}, one.prompt)),
      el("pre", { class: "completion" }, text),
    );
  });
  const none =
    row[COLUMN.status] === "complete"
      ? "No completion of a test problem lies beside this cell's record."
      : `A ${row[COLUMN.status]} cell answered nothing.`;
  return el(
    "section",
    {},
    el("h2", {}, "Completions"),
    el("p", { class: "how" }, DATA.cells.samples),
    parts.length ? el("div", { class: "answers" }, parts) : gap(none),
  );
}

const grade = (points) =>
  el(
    "span",
    { class: `grade ${points >= 1 ? "right" : "wrong"}` },
    points >= 1 ? "✓ right" : points > 0 ? `◐ ${percent(points, 0)} %` : "✗ wrong",
  );

function config(detail) {
  const own = new Set(Object.keys(detail.facts)),
    facts = { ...DATA.cells.common, ...detail.facts };
  const rows = (keys) =>
    el(
      "table",
      { class: "config" },
      el(
        "tbody",
        {},
        keys.map((key) =>
          el("tr", {}, el("th", { scope: "row", class: "left" }, key), el("td", { class: "left" }, facts[key])),
        ),
      ),
    );
  const keys = Object.keys(facts)
    .filter((key) => facts[key] !== null)
    .sort();
  const apart = keys.filter((key) => own.has(key)),
    same = keys.filter((key) => !own.has(key));
  return el(
    "section",
    {},
    el("h2", {}, "Configuration"),
    el(
      "p",
      { class: "how" },
      "As the record has it, beside the axes named above. First what most cells of this report do not share, then what " +
        "they do.",
    ),
    apart.length ? rows(apart) : null,
    same.length ? el("details", {}, el("summary", {}, `shared by most cells: ${same.length} keys`), rows(same)) : null,
  );
}
