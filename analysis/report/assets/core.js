// The data, and how elements are made: text goes in as text nodes, never as markup.
const $ = (id) => document.getElementById(id);
const DATA = JSON.parse($("data").textContent);
const VARIANTS = DATA.variants;
const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

const el = (tag, attributes, ...children) => filled(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => filled(document.createElementNS(SVG, tag), attributes, children);

// A section with its title and one or two sentences on how to read it; it gets its entry in the contents.
function section(id, title, how, ...children) {
  $("contents").append(el("a", { href: `#${id}` }, title));
  return el(
    "section",
    { id, "aria-labelledby": `${id}-title` },
    el("h2", { id: `${id}-title` }, title),
    el("p", { class: "how" }, how),
    ...children,
  );
}

const gap = (text) => el("p", { class: "gap" }, text);

// What is drawn to the width it has: called once it is in the page, and again when the width changes.
const drawings = new Map();
const observer = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const one = drawings.get(target);
    if (!target.isConnected) drawings.delete(target); // replaced by another
    if (one && target.isConnected && Math.abs(one.width - target.clientWidth) > 1 && target.clientWidth) {
      one.width = target.clientWidth;
      one.draw(one.width);
    }
  }
});

function drawn(draw, attributes) {
  const host = el("div", { class: "drawing", ...attributes });
  drawings.set(host, { width: 0, draw: (width) => host.replaceChildren(...[draw(width)].flat()) });
  observer.observe(host);
  return host;
}

function redraw(host) {
  const one = drawings.get(host);
  if (one && one.width) one.draw(one.width);
}
