// What stands above the sections, and the choice of a model and task.
const GROUPS_AT_ONCE = 6; // settings; of more, one model and task is shown at first
let group = DATA.settings.length > GROUPS_AT_ONCE && DATA.groups.length > 1 ? 0 : null;
const renderers = [];
const grouped = () => DATA.settings.map((_, i) => i).filter((i) => group === null || DATA.settings[i].group === group);
const SETTINGS_AT_ONCE = 24; // those with the most cells, until all are asked for: a search may have one for every cell
let every = false;

function chosen() {
  const found = grouped(),
    cells = (i) => DATA.settings[i].cells;
  return every
    ? found
    : found
        .sort((a, b) => cells(b) - cells(a) || a - b)
        .slice(0, SETTINGS_AT_ONCE)
        .sort((a, b) => a - b);
}

function render() {
  renderers.forEach((one) => one());
}

function header() {
  const choice =
    DATA.groups.length > 1
      ? el(
          "label",
          { class: "group" },
          "show ",
          el(
            "select",
            {
              id: "group",
              onchange: (event) => {
                group = event.target.value === "" ? null : Number(event.target.value);
                render();
              },
            },
            el("option", { value: "", selected: group === null }, `all ${DATA.groups.length} models and tasks`),
            DATA.groups.map((title, i) => el("option", { value: i, selected: group === i }, title)),
          ),
        )
      : null;
  const missing = DATA.gaps.length
    ? el(
        "aside",
        { class: "gap", "aria-labelledby": "gaps" },
        el("h2", { id: "gaps" }, "What these records cannot tell"),
        el(
          "ul",
          {},
          DATA.gaps.map((one) => el("li", {}, one)),
        ),
      )
    : null;
  const few = el("p", { class: "note", id: "few" });
  renderers.push(() => {
    const shown = chosen().length,
      all = grouped().length;
    few.hidden = shown === all;
    few.replaceChildren(
      `Below: the ${shown} of ${whole(all)} settings with the most cells. `,
      el(
        "button",
        {
          type: "button",
          class: "plain",
          onclick: () => {
            every = true;
            render();
          },
        },
        `Show all ${whole(all)}`,
      ),
    );
  });
  return el(
    "header",
    {},
    el("p", { class: "eyebrow" }, "lorabench report"),
    el("h1", { tabindex: "-1" }, DATA.title),
    el("p", { class: "made" }, DATA.facts.join(" · ")),
    el(
      "div",
      { class: "summary" },
      DATA.summary.map((sentence) => el("p", {}, sentence.replaceAll(" %", "\u00a0%"))),
    ),
    missing,
    choice,
    few,
  );
}
