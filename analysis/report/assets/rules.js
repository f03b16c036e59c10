// Rules of practice with their numbers, and a next sweep.
function rulesSection() {
  const { findings, gaps, suggested, level, least } = DATA.rules;
  const columns = [
    { title: "rule", left: true, value: (row) => row[0] },
    { title: "number", left: true, value: (row) => row[1] },
    { title: "mean", value: (row) => row[2], cell: (row) => (isNumber(row[2]) ? row[2].toFixed(2).replace("-", "−") : DASH) },
    {
      title: `${100 * level} %`,
      value: (row) => row[3],
      cell: (row) => interval(row[3], row[4], (v) => v.toFixed(2).replace("-", "−")),
    },
    { title: "groups", value: (row) => row[5] },
    { title: "tasks", value: (row) => row[6] },
    { title: "the rule says", left: true, value: (row) => row[7] },
  ];
  const titles = [...new Set(suggested.map((one) => one[0]))];
  return section(
    "rules",
    "Rules of practice",
    "What arXiv 2602.04998 advises, tested on these cells. Groups are curves of one variant that differ in that axis " +
      "alone, tasks the models and tasks that they are of. The mean is that of the tasks' means, its interval Student's t " +
      `for other models and tasks; of fewer than ${least} tasks there is none. λmax of one comparison: over its variants.`,
    findings.length ? table(columns, findings, { label: "rules" }).node : null,
    gaps.map(gap),
    el("h3", {}, "A next sweep"),
    el("p", { class: "how" }, "Two steps of 10^(1/4) to each side of each variant's best learning rate, four beyond an edge."),
    titles.map((title) =>
      el(
        "details",
        { open: titles.length === 1 },
        el("summary", {}, title),
        el(
          "pre",
          { class: "command" },
          suggested
            .filter((one) => one[0] === title)
            .map((one) => `python -m lorabench -m ${one[1]}\n`)
            .join(""),
        ),
      ),
    ),
  );
}
