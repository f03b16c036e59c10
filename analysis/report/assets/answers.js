// One problem's answers over variants and learning rates: a grid of right and wrong, and the answers of what is chosen.
function answersSection() {
  const one = DATA.answers,
    lrs = [...new Set(one.answers.map((a) => a[1]))].sort((a, b) => a - b),
    variants = [...new Set(one.answers.map((a) => a[0]))];
  const at = (variant, lr) => one.answers.filter((a) => a[0] === variant && a[1] === lr);
  const cards = el("div", { class: "answers", "aria-live": "polite" }),
    buttons = [];
  const show = (found, button) => {
    buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    cards.replaceChildren(
      ...found.map(([variant, lr, seed, points, text]) =>
        el(
          "article",
          { class: points >= 1 ? "answer right" : "answer wrong" },
          el(
            "p",
            { class: "head" },
            variantName(variant),
            el("span", { class: "sub" }, `${formatLr(lr)}, seed ${seed}`),
            grade(points),
          ),
          el("pre", { class: "completion" }, text || "(nothing)"),
        ),
      ),
    );
  };
  const choose = (label, found, text, attributes = {}) => {
    const button = el(
      "button",
      {
        type: "button",
        class: "dots",
        "aria-pressed": "false",
        "aria-label": label,
        onclick: () => show(found, button),
        ...attributes,
      },
      text,
    );
    buttons.push(button);
    return button;
  };
  const dots = (found) => found.map((a) => (a[3] >= 1 ? "●" : a[3] > 0 ? "◐" : "○")).join("");
  const right = (found) => found.filter((a) => a[3] >= 1).length;
  const head = lrs.map((lr) => {
    const seed = Math.min(...one.answers.map((a) => a[2])),
      found = one.answers.filter((a) => a[1] === lr && a[2] === seed);
    return el("th", { scope: "col" }, choose(`all variants at ${formatLr(lr)}`, found, formatLr(lr), { class: "dots lr" }));
  });
  const rows = variants.map((variant) =>
    el(
      "tr",
      {},
      el("th", { scope: "row", class: "left" }, variantName(variant)),
      lrs.map((lr) => {
        const found = at(variant, lr);
        return el(
          "td",
          {},
          found.length
            ? choose(
                `${VARIANTS[variant].name} at ${formatLr(lr)}: ${right(found)} of ${found.length} right`,
                found,
                dots(found),
              )
            : "",
        );
      }),
    ),
  );
  const most = lrs.reduce((a, b) =>
    Math.abs(right(one.answers.filter((x) => x[1] === a)) / at2(one, a) - 0.5) <=
    Math.abs(right(one.answers.filter((x) => x[1] === b)) / at2(one, b) - 0.5)
      ? a
      : b,
  );
  buttons[lrs.indexOf(most)]?.click();
  return section(
    "answers",
    "One problem, side by side",
    "The test problem on which the cells disagree the most. ● right, ○ wrong, ◐ in part, one sign a seed; a click on " +
      "them shows these answers, a click on a learning rate those of all variants.",
    el("h3", {}, one.title, el("span", { class: "sub" }, `${one.set} ${one.id}`)),
    el("pre", { class: "prompt" }, one.prompt),
    el(
      "p",
      { class: "note" },
      "Right: ",
      el("code", {}, one.gold),
      ` · ${right(one.answers)} of ${one.answers.length} answers are right`,
    ),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "right and wrong" },
      el("table", { class: "matrix" }, el("thead", {}, el("tr", {}, el("td", {}), head)), el("tbody", {}, rows)),
    ),
    cards,
    el("p", { class: "note" }, `Answers are cut after ${whole(one.longest)} characters.`),
  );
}

const at2 = (one, lr) => one.answers.filter((a) => a[1] === lr).length;
