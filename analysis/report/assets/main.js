// The page: its sections, and the way to a cell and back.
const PAPER = 700; // pixels: charts are drawn to the width of a sheet before they are printed

function curvesSection() {
  const host = el("div", { class: "panels" }),
    keys = el("div", { class: "sticky" });
  let hosts = [];
  renderers.push(() => {
    const shown = chosen(),
      used = [...new Set(shown.flatMap((i) => DATA.settings[i].curves.map((curve) => curve.variant)))].sort((a, b) => a - b);
    const panels = shown.map(curvePanel);
    hosts = panels.map((one) => one.host);
    host.classList.toggle("one", panels.length === 1);
    keys.replaceChildren(legend(used, () => hosts.forEach(redraw)));
    host.replaceChildren(...panels.map((one) => one.figure));
  });
  return section(
    "curves",
    "Score over the learning rate",
    "Each line is a variant: its mean test score over seeds, with a band of one standard deviation. Large marker: the " +
      "test peak, hollow where it is at the edge of the learning rates tried. Bars below: learning rates within " +
      `${100 * DATA.best_range} % of the peak. Dashed grey: the untouched base model. Point at a marker for its seeds, ` +
      "click it for its cells; click a variant to hide it, with Shift to see it alone.",
    keys,
    host,
  );
}

// A section with the same block for every setting shown.
function perSetting(id, title, how, block) {
  const host = el("div");
  renderers.push(() => {
    const shown = chosen(),
      closed = shown.length > 4;
    host.replaceChildren(
      ...shown.map((i, k) => {
        const { title: name, subtitle } = DATA.settings[i],
          head = [name, el("span", { class: "sub" }, subtitle)];
        return closed
          ? el("details", { class: "setting", open: k === 0 }, el("summary", {}, head), block(DATA.settings[i]))
          : el("div", { class: "setting" }, el("h3", {}, head), block(DATA.settings[i]));
      }),
    );
  });
  return section(id, title, how, host);
}

function build() {
  const margin = Number((100 * DATA.margin).toPrecision(6)),
    measured = DATA.settings.some((setting) => setting.costs.length),
    further = DATA.settings.some((setting) => setting.metrics.length);
  const parts = [
    header(),
    curvesSection(),
    perSetting(
      "peaks",
      "Peaks with intervals",
      "Filled: the best mean test score, chosen on test as papers do, hence flattering. Hollow, below it: the test " +
        `score at the learning rate of the ${DATA.choice.best}, ${DATA.choice.verdict}. Upright line: the choice on test, ` +
        "scored on data it did not see (cross-fitted).",
      peakBlock,
    ),
    perSetting(
      "differences",
      "Against LoRA",
      "Difference of each variant to LoRA, both at their best learning rates, with its 95 % interval; within the grey " +
        `zone, ±${margin} point${margin === 1 ? "" : "s"}, it does not matter. "Equivalent" is a claim of its own: two ` +
        'one-sided tests must rule out a larger difference. "Open" means that these data tell neither. Both p are corrected ' +
        "for the number of variants (Holm), the intervals are not.",
      differenceBlock,
    ),
    section(
      "cells",
      "Cells",
      "Every record. Click a header to sort, a cell's name for its config, loss curve and completions.",
      cellTable(),
    ),
    measured &&
      perSetting(
        "costs",
        "Costs",
        "Medians over the finished cells; hours: training and evaluation of all of them. No ratio to LoRA's where the " +
          "devices differ. Times of cells that ran beside others, or on other devices, do not compare. The time of a probe " +
          "is in no column.",
        costBlock,
      ),
    further &&
      perSetting(
        "metrics",
        "Further metrics",
        "What was measured beside the score, as the records have it (fractions of 1, perplexities, losses), mean ± standard " +
          `deviation over seeds. ↓: less is better. Each variant at the learning rate of its ${DATA.choice.best}. A ` +
          "report whose curves and peaks are of one of these: python -m analysis report --metric NAME.",
        metricBlock,
      ),
  ].filter(Boolean);
  if (DATA.sharpness) parts.push(sharpnessSection());
  if (DATA.searches) parts.push(searchSection());
  parts.push(rulesSection());
  if (DATA.answers) parts.push(answersSection());
  const absent = [
    measured ? "" : "measured costs",
    DATA.sharpness ? "" : "Hessian records (python -m hessian)",
    DATA.searches ? "" : "journals of searches",
    DATA.answers ? "" : "completions",
  ].filter(Boolean);
  parts.push(
    el(
      "footer",
      {},
      absent.length ? el("p", {}, `Not in this report, for there were none: ${absent.join(", ")}.`) : null,
      el(
        "p",
        {},
        "One file without a network: made from the records by python -m analysis report. Scores in percent; lr: learning rate.",
      ),
    ),
  );
  $("report").append(...parts);
  render();
}

let before = 0; // how far the report was scrolled when a cell was opened
function route() {
  const open = location.hash.startsWith("#cell-"),
    was = !$("cell").hidden;
  if (open && !was) before = window.scrollY;
  $("report").hidden = $("contents").hidden = open;
  $("cell").hidden = !open;
  $("cell").replaceChildren();
  if (open) {
    let id = location.hash.slice(6);
    try {
      id = decodeURIComponent(id);
    } catch {
      /* a hash typed by hand */
    }
    $("cell").append(...cellView(id).flat().filter(Boolean));
    window.scrollTo(0, 0);
    $("cell").querySelector("h1").focus({ preventScroll: true });
    document.title = `${$("cell").querySelector("h1").textContent.trim()} – ${DATA.title}`;
  } else {
    document.title = DATA.title;
    if (was) window.scrollTo(0, before);
  }
}

build();
window.addEventListener("hashchange", route);
window.addEventListener("beforeprint", () => {
  document.querySelectorAll("#report details").forEach((one) => {
    one.open = true;
  });
  drawings.forEach((one) => one.draw(PAPER));
});
window.addEventListener("afterprint", () => drawings.forEach((one) => one.draw(one.width)));
route();
