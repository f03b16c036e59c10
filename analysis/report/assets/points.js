// What lies behind a point of a panel: by mouse, by touch and by keyboard.
const REACH = 28; // pixels from a point

function tooltip(node, points, place, width) {
  const box = el("div", { class: "tip", role: "status", hidden: true });
  const ring = svg("g", { class: "ring" });
  node.append(ring);
  let at = null,
    pinned = false;
  const order = points.slice().sort((a, b) => a.variant - b.variant || a.point[0] - b.point[0]);

  function show(one, pin = false) {
    at = one;
    pinned = pin;
    for (const other of node.querySelectorAll(".curve")) other.classList.toggle("faint", Boolean(one) && other !== one.group);
    box.hidden = !one;
    ring.replaceChildren();
    if (!one) return;
    const style = VARIANTS[one.variant],
      rows = behind(one);
    one.group.parentNode.append(one.group); // above the others
    for (const other of points.filter((each) => each.variant === one.variant)) {
      for (const i of behind(other)) {
        const value = DATA.cells.rows[i][COLUMN.test];
        if (isNumber(value))
          ring.append(
            svg("circle", {
              cx: other.x,
              cy: place(other.point[0], value)[1],
              r: 2.6,
              fill: "#fff",
              stroke: style.color,
              "stroke-width": 1.3,
            }),
          );
      }
    }
    ring.append(svg("circle", { cx: one.x, cy: one.y, r: 10, fill: "none", stroke: INK, "stroke-width": 1.4 }));
    box.replaceChildren(...content(one, rows, pin));
    const scale = node.clientWidth / width || 1;
    const left = one.x * scale,
      above = one.y * scale;
    box.style.left = `${Math.max(4, left > node.clientWidth / 2 ? left - box.offsetWidth - 16 : left + 16)}px`;
    box.style.top = `${Math.max(0, above - box.offsetHeight / 2)}px`;
  }

  const behind = (one) => CELLS_AT.get(pointKey(one.setting, one.variant, one.point[0])) || [];

  function nearest(event) {
    const area = node.getBoundingClientRect(),
      scale = width / area.width;
    const [x, y] = [(event.clientX - area.left) * scale, (event.clientY - area.top) * scale];
    let best = null,
      least = REACH;
    for (const one of points) {
      const distance = Math.hypot(one.x - x, one.y - y);
      if (distance < least) [best, least] = [one, distance];
    }
    return best;
  }

  function moved(event) {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 0, ArrowUp: 0 };
    if (event.key === "Escape") return show(null);
    if (event.key === "Enter" && at) {
      event.preventDefault();
      show(at, true);
      box.querySelector("a")?.focus();
      return undefined;
    }
    if (!(event.key in steps) || !order.length || event.target !== node) return undefined;
    event.preventDefault();
    if (!at) return show(order[0]);
    if (steps[event.key]) {
      const next = order[order.indexOf(at) + steps[event.key]];
      return next && next.variant === at.variant ? show(next) : undefined;
    }
    const others = [...new Set(order.map((one) => one.variant))],
      turn = event.key === "ArrowDown" ? 1 : -1;
    const variant = others[(others.indexOf(at.variant) + turn + others.length) % others.length];
    const same = order.filter((one) => one.variant === variant);
    return show(same.reduce((a, b) => (Math.abs(a.x - at.x) <= Math.abs(b.x - at.x) ? a : b)));
  }

  node.addEventListener("pointermove", (event) => {
    if (!pinned) {
      const one = nearest(event);
      if (one !== at) show(one);
    }
  });
  node.addEventListener("pointerleave", () => {
    if (!pinned) show(null);
  });
  node.addEventListener("click", (event) => {
    const one = nearest(event);
    show(one, Boolean(one));
  });
  node.addEventListener("keydown", moved);
  box.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      show(null);
      node.focus();
    }
  });
  return box;
}

function content(one, rows, pin) {
  const [lr, mean, std, n, diverged] = one.point,
    style = VARIANTS[one.variant];
  const seeds = rows.map((i) => {
    const row = DATA.cells.rows[i],
      text = row[COLUMN.seed] < 0 ? "published mean" : `seed ${row[COLUMN.seed]}`;
    const value = row[COLUMN.status] === "diverged" ? "diverged" : `${percent(row[COLUMN.test])} %`;
    return el("li", {}, pin ? el("a", { href: cellLink(i) }, text) : text, " ", el("b", {}, value));
  });
  return [
    el("p", { class: "head" }, swatch(style, false), `${style.name} at ${formatLr(lr)}`),
    el("p", {}, `${score(mean, std)} %, `, n === 1 ? "one seed" : `${n} seeds`, diverged ? `, ${diverged} diverged` : ""),
    el("ul", {}, seeds),
    pin ? null : el("p", { class: "hint" }, "click for the cells"),
  ].filter(Boolean);
}

const cellLink = (i) => `#cell-${encodeURIComponent(DATA.cells.rows[i][COLUMN.id])}`;
