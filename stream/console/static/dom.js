// Elements out of text alone: nothing of a catalogue or an event is ever markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** An element with attributes (a function is a listener, false leaves one out) and children. */
export function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same of an SVG element. */
export function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** One of the icons that stand in the page. */
export function icon(name) {
  return draw("svg", { "aria-hidden": "true" }, draw("use", { href: `#icon-${name}` }));
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === undefined || value === null) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((each) => each !== null && each !== undefined && each !== false));
  return element;
}

/** Put other children into an element; what has the focus keeps it, by its `data-key`. */
export function refill(place, ...children) {
  const active = document.activeElement;
  const key = place.contains(active) ? active.dataset.key : undefined;
  place.replaceChildren(...children);
  if (key === undefined) return;
  const keyed = [...place.querySelectorAll("[data-key]")];
  (keyed.find((each) => each.dataset.key === key) ?? keyed[0])?.focus({ preventScroll: true });
}

/** A number between 0 and 360 that goes with a text, for a colour. */
export function hue(text) {
  let hash = 0;
  for (const each of text) hash = (hash * 31 + each.codePointAt(0)) % 360;
  return hash;
}

/** Call back once what has been changed is on the screen; at once in a page nobody sees. */
export function afterPaint(callback) {
  if (document.hidden) {
    callback();
    return;
  }
  requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = callback;
    channel.port2.postMessage(null);
  });
}
