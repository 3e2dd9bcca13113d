// Small pictures of numbers; whoever cannot see them reads the label.

import { draw, make } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 28;

/** A line through values, the newest on the right. */
export function sparkline(values, label, most) {
  const highest = Math.max(...values, 1e-9);
  const step = WIDTH / Math.max(most - 1, 1);
  const first = WIDTH - step * (values.length - 1);
  const points = values.map(
    (each, at) => `${(first + at * step).toFixed(1)},${(HEIGHT - 2 - (each / highest) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return draw(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "spark", role: "img", "aria-label": label, preserveAspectRatio: "none" },
    values.length > 1 && draw("polyline", { points: points.join(" ") }),
  );
}

/** How much a value is of the most there is. */
export function bar(value, most) {
  const share = most > 0 ? Math.min(value / most, 1) : 0;
  return draw(
    "svg",
    { viewBox: "0 0 100 6", class: "bar-chart", "aria-hidden": "true", preserveAspectRatio: "none" },
    draw("rect", { class: "track", width: 100, height: 6, rx: 3 }),
    share > 0 && draw("rect", { class: "fill", width: Math.max(share * 100, 2).toFixed(1), height: 6, rx: 3 }),
  );
}

/** A table: names of columns, and rows of cells; `numbers` are the columns set to the right. */
export function table(caption, columns, rows, numbers = []) {
  const side = (at) => (numbers.includes(at) ? { class: "number" } : {});
  return make(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": caption, "data-key": caption },
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, caption),
      make("thead", {}, make("tr", {}, ...columns.map((each, at) => make("th", { scope: "col", ...side(at) }, each)))),
      make(
        "tbody",
        {},
        ...rows.map((cells) => make("tr", {}, ...cells.map((each, at) => make("td", side(at), each ?? "")))),
      ),
    ),
  );
}

/** A number with its name, and a picture of how it went. */
export function tile(name, value, more) {
  return make(
    "div",
    { class: "tile" },
    make("p", { class: "name" }, name),
    make("p", { class: "value" }, value),
    more ?? null,
  );
}
