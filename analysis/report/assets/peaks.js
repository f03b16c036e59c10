// Peaks, differences to LoRA and costs of a setting: a figure with intervals and the table behind it.
const best = (lr, edge) =>
  el(
    "span",
    {},
    formatLr(lr),
    edge ? el("span", { class: "edge", title: "at the edge of the learning rates tried" }, ` ${edge}`) : null,
  );
const variantColumn = {
  title: "variant",
  left: true,
  value: (row) => row.variant,
  cell: (row) => variantName(row.variant),
  rising: true,
};
const clipped = (value) => percent(Math.min(1, Math.max(0, value)));
const dagger = (few) => (few ? el("abbr", { title: "fewer seeds than other points" }, "†") : null);

function peakBlock(setting) {
  const rows = setting.peaks,
    fair = rows.some((row) => isNumber(row.selected_mean)),
    honest = rows.some((row) => isNumber(row.honest));
  const [one, two] = ["peak_interval", "selected_interval"];
  const columns = [
    variantColumn,
    {
      title: "test peak %",
      value: (row) => row.peak_mean,
      cell: (row) => [score(row.peak_mean, row.peak_std), dagger(row.peak_few_seeds)],
      help: "best mean test score over the learning rates, ± standard deviation over seeds; chosen on test",
    },
    { title: "95 %", value: (row) => row[one][0], cell: (row) => interval(row[one][0], row[one][1], percent) },
    { title: "at lr", value: (row) => row.peak_lr, cell: (row) => best(row.peak_lr, row.edge) },
    fair && {
      title: "selected %",
      value: (row) => row.selected_mean,
      cell: (row) => [score(row.selected_mean, row.selected_std), dagger(row.selected_few_seeds)],
      help: `test score at the learning rate of the ${DATA.choice.best}; ${DATA.choice.verdict}`,
    },
    fair && { title: "95 %", value: (row) => row[two][0], cell: (row) => interval(row[two][0], row[two][1], percent) },
    fair && { title: "at lr", value: (row) => row.selected_lr, cell: (row) => formatLr(row.selected_lr) },
    honest && {
      title: "cross-fitted %",
      value: (row) => row.honest,
      cell: (row) =>
        isNumber(row.honest)
          ? el("abbr", { title: `95 %: ${interval(row.honest_low, row.honest_high, clipped)}` }, percent(row.honest))
          : DASH,
      help: "the same choice on test, scored on seeds and problems that it did not see; its interval at the number",
    },
    {
      title: "best lr range",
      value: (row) => row.range_low,
      cell: (row) =>
        !isNumber(row.range_low)
          ? DASH
          : row.range_low === row.range_high
            ? formatLr(row.range_low)
            : `${formatLr(row.range_low)}..${formatLr(row.range_high)}`,
      help: `around the peak, within ${100 * DATA.best_range} % of it`,
    },
    { title: "seeds", value: (row) => row.peak_n },
  ].filter(Boolean);
  const figure = ranges(
    rows.map((row) => ({
      variant: row.variant,
      low: row[one][0],
      high: row[one][1],
      value: row.peak_mean,
      hollow: row.edge !== "",
      tick: row.honest,
      second: isNumber(row.selected_mean) ? { low: row[two][0], high: row[two][1], value: row.selected_mean } : null,
    })),
    {
      title: "test score, %",
      floor: 0,
      label: `Peaks of ${setting.title}, ${setting.subtitle}, with intervals; the table below has the numbers`,
    },
  );
  const hows = [...new Set(rows.map((row) => row[one][2]))],
    words = {
      "problems and seeds": "new seeds and new problems",
      problems: "new problems with this one seed",
      seeds: "new seeds (Student's t)",
    };
  const told = hows.map((how) => words[how] || "none, for one seed without completions tells none").join("; ");
  return [
    figure,
    table(columns, rows, { label: "peaks" }).node,
    el("p", { class: "note" }, `95 % intervals, for ${told}. That the peak was chosen by these scores is not in them.`),
  ];
}

const ofTheseRuns = (row) => row.how === "paired" && row.seeds === 1;

const VERDICTS = {
  equivalent: ["≈", "equivalent"],
  different: ["≠", "different"],
  both: ["≈ ≠", "different, but by less than the margin"],
  open: ["?", "open"],
};

function differenceBlock(setting) {
  const { rows, reason } = setting.differences;
  if (!rows.length) return [gap(`${reason}.`)];
  const columns = [
    variantColumn,
    { title: "at lr", value: (row) => row.lr, cell: (row) => formatLr(row.lr) },
    { title: "difference", value: (row) => row.value, cell: (row) => signed(row.value) },
    {
      title: "95 %",
      value: (row) => row.low,
      cell: (row) => interval(row.low, row.high, signed),
      help: "for new seeds and new problems; with one seed for new problems alone, from means over seeds for new seeds alone",
    },
    {
      title: "95 %, these runs",
      value: (row) => row.runs_low,
      cell: (row) => interval(row.runs_low, row.runs_high, signed),
      help: "for these trained models on new problems",
    },
    {
      title: "p",
      value: (row) => row.p_different,
      cell: (row) => probability(row.p_different),
      help: "of no difference, after Holm over the variants",
    },
    {
      title: "p equal",
      value: (row) => row.p_equivalent,
      cell: (row) => probability(row.p_equivalent),
      help: "of a difference of the margin or more: two one-sided tests, after Holm over the variants",
    },
    {
      title: "verdict",
      left: true,
      value: (row) => row.verdict,
      cell: (row) =>
        el(
          "span",
          { class: `verdict ${row.verdict}` },
          el("span", { "aria-hidden": "true" }, VERDICTS[row.verdict][0]),
          ` ${VERDICTS[row.verdict][1]}`,
          ofTheseRuns(row) ? el("abbr", { title: "one seed: of these trained models alone" }, "†") : null,
        ),
    },
    { title: "seeds", value: (row) => row.seeds },
    {
      title: "needed",
      value: (row) => (row.seeds_needed === "inf" ? Infinity : row.seeds_needed),
      cell: (row) => needed(row.seeds_needed),
      help: `seeds of each to tell the margin apart with power ${DATA.power} on these problems`,
    },
  ];
  const figure = ranges(
    rows.map((row) => ({ variant: row.variant, low: row.low, high: row.high, value: row.value })),
    {
      title: `points against ${rows[0].reference} at ${formatLr(rows[0].reference_lr)}`,
      zone: DATA.margin,
      label: `Differences to LoRA of ${setting.title}; the table below has the numbers`,
    },
  );
  const means = rows.filter((row) => row.how === "means").length,
    none = rows.filter((row) => row.how === "").length,
    single = rows.filter(ofTheseRuns).length,
    left = rows.filter((row) => row.left_out).map((row) => `${VARIANTS[row.variant].name} ${row.left_out}`);
  return [
    figure,
    table(columns, rows, { label: "differences" }).node,
    means ? el("p", { class: "note" }, `${means} by Welch's test of means over seeds, without completions.`) : null,
    single ? gap(`†, ${single}: one seed, so interval and verdict are of these trained models alone.`) : null,
    left.length ? gap(`Seeds that one of both has alone, left out: ${left.join(", ")}.`) : null,
    DATA.choice.on_test || rows.some((row) => row.chosen !== DATA.choice.by)
      ? gap("Learning rates chosen by test score: who tried more of them has an advantage that p does not know of.")
      : null,
    none ? gap(`${none} untested: no completions, and not several seeds that vary.`) : null,
  ];
}

function costBlock(setting) {
  if (!setting.costs.length) return [gap("No cell of this setting has a measured cost.")];
  const columns = [
    variantColumn,
    ...[
      ["cells", "cells", whole],
      ["parameters", "parameters", whole],
      ["s a step", "seconds_a_step", number],
      ["of lora's", "relative", number],
      ["tokens/s", "tokens_a_second", number],
      ["memory GiB", "peak_memory", (v) => (isNumber(v) ? number(v / 2 ** 30) : DASH)],
      ["evaluation s", "evaluation_seconds", number],
      ["hours in all", "hours", number],
    ].map(([title, key, write]) => ({ title, value: (row) => row[key], cell: (row) => write(row[key]) })),
  ];
  return [
    table(columns, setting.costs, { label: "costs" }).node,
    setting.devices.length ? el("p", { class: "note" }, `On ${setting.devices.join("; ")}.`) : null,
  ];
}

// Values as the records have them: no percent.
function metricBlock(setting) {
  if (!setting.metrics.length) return [gap("No cell of this setting has a metric beside its scores.")];
  const value = (v, row) =>
    !isNumber(v) ? DASH : Math.abs(v) < 10 && !row.counting ? v.toFixed(4) : String(Number(v.toPrecision(5)));
  const columns = [
    { title: "metric", left: true, value: (row) => row.metric, cell: (row) => row.metric + (row.lower ? " ↓" : "") },
    variantColumn,
    { title: "at lr", value: (row) => row.lr, cell: (row) => formatLr(row.lr) },
    {
      title: "value",
      value: (row) => row.mean,
      cell: (row) => value(row.mean, row) + (isNumber(row.std) ? ` ± ${value(row.std, row)}` : ""),
    },
    { title: "seeds", value: (row) => row.n },
    { title: "problems", value: (row) => row.problems, cell: (row) => (isNumber(row.problems) ? whole(row.problems) : DASH) },
    { title: "untouched base", value: (row) => row.base, cell: (row) => value(row.base, row) },
  ];
  return [table(columns, setting.metrics, { label: "metrics", page: 50 }).node];
}
