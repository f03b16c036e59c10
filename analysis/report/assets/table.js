// A table that sorts by a click on a header, by pages where it is long.
const WORDS = new Intl.Collator("en", { numeric: true }); // made once: localeCompare makes one at each call

// A column: title, value (row → what sorts), cell (row → text or node; the value if missing), left, help.
function table(columns, rows, options = {}) {
  let shown = rows,
    sorted = options.sort ?? null,
    down = options.down ?? false,
    page = 0;
  const size = options.page || Infinity;
  const body = el("tbody");
  const heads = columns.map((column, i) => {
    const button = el(
      "button",
      { type: "button", onclick: () => sort(i), title: column.help || null },
      column.title,
      el("span", { class: "arrow", "aria-hidden": "true" }),
    );
    return el("th", { scope: "col", class: column.left ? "left" : null }, button);
  });
  const told = el("span", { class: "told", role: "status" });
  const before = el("button", { type: "button", onclick: () => turn(-1) }, "← previous"),
    after = el("button", { type: "button", onclick: () => turn(1) }, "next →");
  const pager = options.page ? el("div", { class: "pager" }, told, before, after) : null;
  const node = el(
    "div",
    { class: "table" },
    pager,
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": options.label || "table" },
      el("table", {}, el("thead", {}, el("tr", {}, heads)), body),
    ),
  );

  function sort(i) {
    // Numbers start with the highest, words with the first.
    const numbers = rows.some((row) => isNumber(columns[i].value(row)));
    down = sorted === i ? !down : Boolean(numbers && !columns[i].rising);
    sorted = i;
    page = 0;
    draw();
  }

  function turn(by) {
    page += by;
    draw();
  }

  function compare(a, b) {
    const [x, y] = [columns[sorted].value(a), columns[sorted].value(b)];
    if (x === null || x === undefined) return y === null || y === undefined ? 0 : 1; // what is missing comes last both ways
    if (y === null || y === undefined) return -1;
    const order = isNumber(x) && isNumber(y) ? x - y : WORDS.compare(String(x), String(y));
    return down ? -order : order;
  }

  function draw() {
    const ordered = sorted === null ? shown : shown.slice().sort(compare);
    const last = Math.max(0, Math.ceil(ordered.length / size) - 1);
    page = Math.min(Math.max(page, 0), last);
    const start = size === Infinity ? 0 : page * size,
      part = ordered.slice(start, start + size);
    body.replaceChildren(
      ...part.map((row) =>
        el(
          "tr",
          options.row ? options.row(row) : {},
          columns.map((column) =>
            el("td", { class: column.left ? "left" : null }, column.cell ? column.cell(row) : (column.value(row) ?? DASH)),
          ),
        ),
      ),
    );
    if (!part.length)
      body.append(el("tr", {}, el("td", { colspan: columns.length, class: "left none" }, options.none || "none")));
    heads.forEach((head, i) => {
      head.setAttribute("aria-sort", sorted === i ? (down ? "descending" : "ascending") : "none");
      head.querySelector(".arrow").textContent = sorted === i ? (down ? "▼" : "▲") : "";
    });
    if (pager) {
      const all = shown.length === rows.length ? "" : ` (of ${whole(rows.length)})`;
      const range = part.length ? `${whole(start + 1)} to ${whole(start + part.length)} of ` : "";
      told.textContent = `${range}${whole(shown.length)} ${options.noun || "rows"}${all}`;
      before.disabled = page === 0;
      after.disabled = page === last;
    }
  }

  draw();
  return {
    node,
    show: (some) => {
      shown = some;
      page = 0;
      draw();
    },
  };
}
