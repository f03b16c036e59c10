// Values with their intervals, one row a variant, on one scale in points.
// A row: {variant, low, high, value, hollow, tick, second: {low, high, value}}; `zone` is shaded from −zone to zone.
function ranges(rows, options) {
  const height = 22,
    top = 6;
  return drawn(
    (width) => {
      // Long names have up to two fifths of the width, and are shortened beyond; the whole one is in their tooltip.
      const longest = Math.max(...rows.map((row) => VARIANTS[row.variant].name.length)),
        left = Math.min(Math.max(112, 32 + 7 * longest), 0.4 * Math.max(width, 320));
      const short = (name) => (32 + 7 * name.length <= left + 7 ? name : `${name.slice(0, Math.floor((left - 39) / 7))}…`);
      const box = { left, right: Math.max(width, 320) - 16, top, bottom: top + height * rows.length + 6 };
      const ends = rows
        .flatMap((row) => [row.low, row.high, row.value, row.tick, row.second?.low, row.second?.high, row.second?.value])
        .filter(isNumber);
      if (options.zone) ends.push(-2 * options.zone, 2 * options.zone);
      const margin = 0.04 * (Math.max(...ends) - Math.min(...ends) || 0.01);
      const low = Math.max(options.floor ?? -1, Math.min(...ends) - margin),
        high = Math.min(1, Math.max(...ends) + margin);
      const x = linear(100 * low, 100 * high, box.left, box.right),
        at = (value) => x.at(100 * value);
      const parts = rows.map((row, i) => {
        const y = box.top + 3 + height * (i + 0.5),
          style = VARIANTS[row.variant];
        const bar = (one, shift, thin) =>
          isNumber(one?.low)
            ? svg("line", {
                x1: at(one.low),
                x2: at(one.high),
                y1: y + shift,
                y2: y + shift,
                stroke: thin ? "#6e7781" : INK,
                "stroke-width": thin ? 1 : 1.6,
              })
            : null;
        const shift = row.second && isNumber(row.second.value) ? 4 : 0;
        return svg(
          "g",
          {},
          svg(
            "text",
            { x: box.left - 26, y: y + 4, class: "name", "text-anchor": "end" },
            short(style.name),
            svg("title", {}, style.name),
          ),
          mark(style, box.left - 14, y, 4),
          bar(row, -shift, false),
          bar(row.second, shift, true),
          isNumber(row.tick)
            ? svg("line", { x1: at(row.tick), x2: at(row.tick), y1: y - 9, y2: y + 9, class: "honest" })
            : null,
          shift ? mark(style, at(row.second.value), y + shift, 3.6, true) : null,
          isNumber(row.value)
            ? mark(style, at(row.value), y - shift, 4.6, row.hollow)
            : svg("text", { x: box.left + 6, y: y + 4, class: "tick" }, "no score"),
        );
      });
      const zone = options.zone
        ? [
            svg("rect", {
              x: at(-options.zone),
              width: at(options.zone) - at(-options.zone),
              y: box.top,
              height: box.bottom - box.top,
              class: "zone",
            }),
            svg("line", { x1: at(0), x2: at(0), y1: box.top, y2: box.bottom, class: "zero" }),
          ]
        : [];
      return chart(
        Math.max(width, 320),
        box.bottom + 42,
        { role: "img", "aria-label": options.label },
        zone.slice(0, 1),
        frame(box, x, null, { x: options.title }),
        zone.slice(1),
        parts,
      );
    },
    { class: "drawing ranges" },
  );
}
