// The view of one cell, at #cell-ID.
function cellView(id) {
  const { rows, details } = DATA.cells,
    i = rows.findIndex((row) => row[COLUMN.id] === id);
  const back = el("p", { class: "back" }, el("a", { href: "#cells" }, "← all cells"));
  if (i < 0) return [back, el("h1", { tabindex: "-1" }, "No such cell"), gap(`This report has no cell ${id}.`)];
  const row = rows[i],
    where = DATA.cells.places[row[COLUMN.place]],
    detail = details[i],
    variant = VARIANTS[row[COLUMN.variant]];
  const seed = row[COLUMN.seed] < 0 ? `mean of ${row[COLUMN.n]} seeds` : `seed ${row[COLUMN.seed]}`;
  const head = [
    back,
    el("p", { class: "eyebrow" }, "cell ", el("code", {}, id)),
    el("h1", { tabindex: "-1" }, swatch(variant), ` ${variant.name} at ${formatLr(row[COLUMN.lr])}, ${seed}`),
    el("p", { class: "sub" }, `${where.model} · ${where.task} · ${place(where)}`, where.source ? ` · ${where.source}` : ""),
    neighbours(i),
  ];
  if (!detail)
    return [...head, scores(row, null), gap("A published mean: the paper gives no loss curve, no config and no completions.")];
  return [
    ...head,
    detail.error ? el("p", { class: "gap failed" }, `Failed: ${detail.error}`) : null,
    scores(row, detail),
    curves(row, detail),
    completions(row, detail),
    config(detail),
  ];
}

// The same point's other seeds, and the next learning rates of the same variant and seed.
function neighbours(i) {
  const row = DATA.cells.rows[i],
    same = (other, names) => names.every((name) => other[COLUMN[name]] === row[COLUMN[name]]);
  if (row[COLUMN.setting] === null) return null;
  const link = (j, text) => (j === i ? el("b", {}, text) : el("a", { href: cellLink(j) }, text));
  const all = DATA.cells.rows.map((_, j) => j),
    of = (j, name) => DATA.cells.rows[j][COLUMN[name]];
  const seeds = all
    .filter((j) => same(DATA.cells.rows[j], ["setting", "variant", "lr"]))
    .sort((a, b) => of(a, "seed") - of(b, "seed"));
  const lrs = all
    .filter((j) => same(DATA.cells.rows[j], ["setting", "variant", "seed"]))
    .sort((a, b) => of(a, "lr") - of(b, "lr"));
  return el(
    "nav",
    { class: "near", "aria-label": "Cells beside this one" },
    lrs.length > 1
      ? el(
          "span",
          {},
          "learning rate ",
          lrs.map((j) => [link(j, formatLr(of(j, "lr"))), " "]),
        )
      : null,
    seeds.length > 1
      ? el(
          "span",
          {},
          "seed ",
          seeds.map((j) => [link(j, of(j, "seed")), " "]),
        )
      : null,
  );
}

// `2026-03-01 10:00:06 UTC`, or with the record's own offset.
function instant(text) {
  const zone = text.slice(19).replace(/^\.\d+/, "");
  return `${text.slice(0, 19).replace("T", " ")} ${["+00:00", "Z"].includes(zone) ? "UTC" : zone}`.trim();
}

function scores(row, detail) {
  const facts = [["status", row[COLUMN.status]]];
  const from = (label, total) => {
    const sets = Object.entries(detail?.metrics?.[label] || {}); // of the cells' own scores, not of a metric in their place
    const told = sets.map(
      ([name, one]) =>
        `${name} ${percent(one.score)} of ${one.n} problems` +
        (isNumber(one.stderr) ? `, standard error ${percent(one.stderr)}` : ""),
    );
    facts.push([label, `${percent(total)} %`, told.join("; ")]);
  };
  from(DATA.metric, row[COLUMN.test]);
  if (isNumber(row[COLUMN.std])) facts.push(["std over seeds", percent(row[COLUMN.std])]);
  if (isNumber(row[COLUMN.validation]) && DATA.choice.by !== DATA.metric) from(DATA.choice.by, row[COLUMN.validation]);
  if (detail && isNumber(detail.base)) facts.push(["untouched base", `${percent(detail.base)} %`]);
  for (const [name, value] of Object.entries(detail?.further || {})) facts.push([name, String(Number(value.toPrecision(5)))]);
  const training = detail?.training || {};
  for (const [key, name, write] of [
    ["steps", "steps", whole],
    ["tokens", "tokens", whole],
    ["target_tokens", "of them trained on", whole],
    ["padding_tokens", "padding tokens", whole],
    ["seconds", "training", (v) => `${number(v)} s`],
    ["tokens_per_second", "speed", (v) => `${number(v)} tokens/s`],
    ["peak_memory_bytes", "peak memory", (v) => `${number(v / 2 ** 30)} GiB`],
    ["trainable_parameters", "trainable parameters", whole],
  ]) {
    if (isNumber(training[key])) facts.push([name, write(training[key])]);
  }
  for (const [name, lr, parameters] of detail?.groups || [])
    facts.push([`group ${name}`, `peak learning rate ${formatLr(lr)}`, `${whole(parameters)} values`]);
  if (detail && isNumber(detail.evaluation)) facts.push(["evaluation", `${number(detail.evaluation)} s`]);
  if (detail && isNumber(detail.scoring)) facts.push(["scoring", `${number(detail.scoring)} s`]);
  if (detail?.finished) facts.push(["finished", instant(detail.finished)]);
  return el(
    "dl",
    { class: "facts" },
    facts.map(([name, value, more]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value), more ? el("dd", { class: "more" }, more) : null),
    ),
  );
}
