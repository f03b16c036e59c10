// The table of all cells: filtered by words and by menus, sorted by its headers, by pages.
const PAGE = 50;

function cellTable() {
  const { rows, places } = DATA.cells,
    all = rows.map((_, i) => i);
  const of = (i, name) => rows[i][COLUMN[name]],
    where = (i) => places[of(i, "place")];
  const title = (i) => `${where(i).model} · ${where(i).task}`;
  const found = all.map((i) => {
    const name = VARIANTS[of(i, "variant")].name.toLowerCase(),
      one = where(i);
    return {
      name,
      keys: { ...optionsOf(name), lr: of(i, "lr"), seed: of(i, "seed"), rank: one.rank, batch: one.batch_size },
      text: [of(i, "id"), name, title(i), place(one), one.source, of(i, "status")].join(" ").toLowerCase(),
    };
  });
  const several = (name) => new Set(places.map((one) => one[name])).size > 1;
  const placed = (head, name, write = String) =>
    several(name) && {
      title: head,
      value: (i) => where(i)[name],
      cell: (i) => (where(i)[name] === null ? "all" : write(where(i)[name])),
      left: name === "source",
      rising: true,
    };
  const measured = (name) => rows.some((row) => isNumber(row[COLUMN[name]])); // a paper's cells have a test score alone
  const columns = [
    { title: "variant", left: true, value: (i) => of(i, "variant"), cell: (i) => variantName(of(i, "variant")), rising: true },
    several("model") || several("task") ? { title: "model · task", left: true, value: title } : false,
    placed("rank", "rank"),
    placed("batch", "batch_size"),
    placed("samples", "train_samples", whole),
    placed("epochs", "epochs"),
    placed("source", "source"),
    { title: "lr", value: (i) => of(i, "lr"), cell: (i) => formatLr(of(i, "lr")), rising: true },
    {
      title: "seed",
      value: (i) => (of(i, "seed") < 0 ? null : of(i, "seed")),
      cell: (i) => (of(i, "seed") < 0 ? `${of(i, "n")} seeds` : of(i, "seed")),
      rising: true,
    },
    {
      title: "status",
      left: true,
      value: (i) => of(i, "status"),
      cell: (i) => el("span", { class: `status ${of(i, "status")}` }, of(i, "status")),
    },
    { title: `${DATA.metric} %`, value: (i) => of(i, "test"), cell: (i) => score(of(i, "test"), of(i, "std")) },
    measured("validation") && DATA.choice.by !== DATA.metric && {
      title: `${DATA.choice.by} %`,
      value: (i) => of(i, "validation"),
      cell: (i) => percent(of(i, "validation")),
    },
    measured("seconds") && { title: "training s", value: (i) => of(i, "seconds"), cell: (i) => number(of(i, "seconds")) },
    {
      title: "cell",
      left: true,
      value: (i) => of(i, "id"),
      cell: (i) => el("a", { href: cellLink(i), class: "id" }, of(i, "id")),
    },
  ].filter(Boolean);
  const shown = table(columns, all, {
    page: PAGE,
    sort: columns.findIndex((column) => column.title === "test %"),
    down: true,
    label: "cells",
    noun: "cells",
    none: "no cell matches",
  });

  const text = el("input", {
    type: "search",
    id: "filter",
    placeholder: "words, such as pissa lr=2e-3 seed=0",
    oninput: () => update(),
  });
  const menu = (id, label, value, names) => {
    const options = [...new Set(all.map(value))];
    const select = el(
      "select",
      { id, onchange: () => update() },
      el("option", { value: "" }, "all"),
      options.sort().map((one) => el("option", { value: one }, names ? names(one) : one)),
    );
    return { value, select, node: options.length > 1 ? el("label", {}, label, select) : null };
  };
  const menus = [
    menu("filter-variant", "variant", (i) => VARIANTS[of(i, "variant")].name),
    menu("filter-status", "status", (i) => of(i, "status")),
    menu("filter-task", "model · task", title),
  ];
  const update = () => {
    const wanted = filter(text.value, (i) => found[i]);
    shown.show(all.filter((i) => menus.every((one) => !one.select.value || one.value(i) === one.select.value) && wanted(i)));
  };
  return [
    el(
      "div",
      { class: "filters" },
      el("label", { class: "wide" }, "filter", text),
      menus.map((one) => one.node),
    ),
    shown.node,
  ];
}
