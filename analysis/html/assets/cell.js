// The view of one cell, at #cell-ID.
function cellView(id) {
  const { rows, details } = DATA.cells, i = rows.findIndex((row) => row[COLUMN.id] === id);
  const back = el("p", { class: "back" }, el("a", { href: "#cells" }, "← all cells"));
  if (i < 0) return [back, el("h1", { tabindex: "-1" }, "No such cell"), gap(`This report has no cell ${id}.`)];
  const row = rows[i], where = DATA.cells.places[row[COLUMN.place]], detail = details[i], variant = VARIANTS[row[COLUMN.variant]];
  const seed = row[COLUMN.seed] < 0 ? `mean of ${row[COLUMN.n]} seeds` : `seed ${row[COLUMN.seed]}`;
  const head = [back, el("p", { class: "eyebrow" }, "cell ", el("code", {}, id)),
    el("h1", { tabindex: "-1" }, swatch(variant), ` ${variant.name} at ${formatLr(row[COLUMN.lr])}, ${seed}`),
    el("p", { class: "sub" }, `${where.model} · ${where.task} · ${place(where)}`, where.source ? ` · ${where.source}` : ""), neighbours(i)];
  if (!detail) return [...head, scores(row, null), gap("A published mean: the paper gives no loss curve, no config and no completions.")];
  return [...head, detail.error ? el("p", { class: "gap failed" }, `Failed: ${detail.error}`) : null, scores(row, detail), curves(row, detail), completions(row, detail), config(detail)];
}

// The same point's other seeds, and the next learning rates of the same variant and seed.
function neighbours(i) {
  const row = DATA.cells.rows[i], same = (other, names) => names.every((name) => other[COLUMN[name]] === row[COLUMN[name]]);
  if (row[COLUMN.setting] === null) return null;
  const link = (j, text) => (j === i ? el("b", {}, text) : el("a", { href: cellLink(j) }, text));
  const all = DATA.cells.rows.map((_, j) => j), of = (j, name) => DATA.cells.rows[j][COLUMN[name]];
  const seeds = all.filter((j) => same(DATA.cells.rows[j], ["setting", "variant", "lr"])).sort((a, b) => of(a, "seed") - of(b, "seed"));
  const lrs = all.filter((j) => same(DATA.cells.rows[j], ["setting", "variant", "seed"])).sort((a, b) => of(a, "lr") - of(b, "lr"));
  return el("nav", { class: "near", "aria-label": "Cells beside this one" },
    lrs.length > 1 ? el("span", {}, "learning rate ", lrs.map((j) => [link(j, formatLr(of(j, "lr"))), " "])) : null,
    seeds.length > 1 ? el("span", {}, "seed ", seeds.map((j) => [link(j, of(j, "seed")), " "])) : null);
}

function scores(row, detail) {
  const facts = [["status", row[COLUMN.status]]];
  const from = (split, total) => {
    const sets = Object.entries(detail?.metrics?.[split] || {});
    const told = sets.map(([name, one]) => `${name} ${percent(one.score)}${isNumber(one.stderr) ? ` ± ${percent(one.stderr)}` : ""} of ${one.n}`);
    facts.push([split, `${percent(total)} %`, told.join("; ")]);
  };
  from("test", row[COLUMN.test]);
  if (isNumber(row[COLUMN.std])) facts.push(["std over seeds", percent(row[COLUMN.std])]);
  if (isNumber(row[COLUMN.validation])) from("validation", row[COLUMN.validation]);
  if (detail && isNumber(detail.base)) facts.push(["untouched base", `${percent(detail.base)} %`]);
  const training = detail?.training || {};
  for (const [key, name, write] of [["steps", "steps", whole], ["tokens", "tokens", whole], ["seconds", "training", (v) => `${number(v)} s`], ["tokens_per_second", "speed", (v) => `${number(v)} tokens/s`],
    ["peak_memory_bytes", "peak memory", (v) => `${number(v / 2 ** 30)} GiB`], ["trainable_parameters", "trainable parameters", whole]]) {
    if (isNumber(training[key])) facts.push([name, write(training[key])]);
  }
  if (detail && isNumber(detail.evaluation)) facts.push(["evaluation", `${number(detail.evaluation)} s`]);
  if (detail?.finished) facts.push(["finished", detail.finished.slice(0, 19).replace("T", " ")]);
  return el("dl", { class: "facts" }, facts.map(([name, value, more]) => el("div", {}, el("dt", {}, name), el("dd", {}, value), more ? el("dd", { class: "more" }, more) : null)));
}

function curves(row, detail) {
  const steps = DATA.cells.steps[detail.steps], style = { ...VARIANTS[row[COLUMN.variant]], dash: "" }, parts = [];
  if (detail.loss.some(isNumber)) {
    const runs = steps.length > 1 ? Math.max(...steps.map((step, k) => step - (steps[k - 1] || 0))) : 1;
    parts.push(el("figure", {}, el("figcaption", {}, el("strong", {}, "Training loss"), el("span", { class: "sub" }, runs > 1 ? `each point the mean of up to ${runs} steps` : "every step")),
      drawn((width) => curve(width, steps.map((step, k) => [step, detail.loss[k]]), null, style, "loss"))));
  } else parts.push(gap("The record has no finite loss."));
  if (detail.sharpness.length) {
    const rows = detail.sharpness;
    parts.push(el("figure", {}, el("figcaption", {}, el("strong", {}, "Sharpness along training"), el("span", { class: "sub" }, "λmax: median over the measured blocks, and their range")),
      drawn((width) => curve(width, rows.map((one) => [one[0], one[2]]), rows.map((one) => [one[0], one[1], one[3]]), style, "λmax"))));
  }
  return el("div", { class: "panels" }, parts);
}

function curve(width, points, area, style, title) {
  const values = [...points.map((p) => p[1]), ...(area || []).flatMap((p) => p.slice(1))].filter(isNumber), box = { left: 58, right: width - 14, top: 10, bottom: 220 };
  const positive = area && Math.min(...values) > 0;
  const x = linear(Math.min(0, points[0][0]), points[points.length - 1][0] || 1, box.left, box.right);
  const y = positive ? log(Math.min(...values) / 1.2, Math.max(...values) * 1.2, box.bottom, box.top, plain) : linear(Math.min(0, ...values), Math.max(...values) * 1.05 || 1, box.bottom, box.top);
  const at = (step, value) => (isNumber(value) ? [x.at(step), y.at(value)] : null);
  return chart(width, 262, { role: "img", "aria-label": `${title} over training steps` }, frame(box, x, y, { x: "step", y: title }),
    area ? band(area.map((p) => at(p[0], p[2])), area.map((p) => at(p[0], p[1])), style) : null, line(points.map((p) => at(p[0], p[1])), style, 1.5),
    points.length < 20 ? points.filter((p) => isNumber(p[1])).map((p) => mark(style, ...at(p[0], p[1]), 3.4)) : null);
}

function completions(row, detail) {
  const parts = detail.answers.map(([problem, points, text]) => {
    const one = DATA.cells.problems[problem];
    return el("article", { class: points >= 1 ? "answer right" : "answer wrong" },
      el("p", { class: "head" }, grade(points), el("span", { class: "sub" }, `${one.set} ${one.id} · right: `, el("code", {}, one.gold))),
      el("details", {}, el("summary", {}, "prompt"), el("pre", {}, one.prompt)), el("pre", { class: "completion" }, text));
  });
  const none = row[COLUMN.status] === "complete" ? "No completion of a test problem lies beside this cell's record." : `A ${row[COLUMN.status]} cell answered nothing.`;
  return el("section", {}, el("h2", {}, "Completions"), el("p", { class: "how" }, DATA.cells.samples), parts.length ? el("div", { class: "answers" }, parts) : gap(none));
}

const grade = (points) => el("span", { class: `grade ${points >= 1 ? "right" : "wrong"}` }, points >= 1 ? "✓ right" : points > 0 ? `◐ ${percent(points, 0)} %` : "✗ wrong");

function config(detail) {
  const own = new Set(Object.keys(detail.facts)), facts = { ...DATA.cells.common, ...detail.facts };
  const rows = (keys) => el("table", { class: "config" }, el("tbody", {}, keys.map((key) => el("tr", {}, el("th", { scope: "row", class: "left" }, key), el("td", { class: "left" }, facts[key])))));
  const keys = Object.keys(facts).filter((key) => facts[key] !== null).sort();
  const apart = keys.filter((key) => own.has(key)), same = keys.filter((key) => !own.has(key));
  return el("section", {}, el("h2", {}, "Configuration"),
    el("p", { class: "how" }, "As the record has it, beside the axes named above. First what most cells of this report do not share, then what they do."),
    apart.length ? rows(apart) : null, same.length ? el("details", {}, el("summary", {}, `shared by most cells: ${same.length} keys`), rows(same)) : null);
}
