// The personal list: ranks, reasons, and what moved since the list before.

import { hue, make, refill } from "./dom.js";
import { language, say } from "./words.js";

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** Above 0 where the one is newer, below 0 where the other is; 0 where neither is known to be. */
export function newer(one, other) {
  const [a, b] = [one.as_of, other.as_of];
  return a.topic === b.topic && a.partition === b.partition ? a.offset - b.offset : 0;
}

export class RankedList {
  #place;
  #act;
  #before = new Map();
  shown = null;

  /** `act(type, item, list, since)` is called when somebody clicks an item. */
  constructor(place, act) {
    this.#place = place;
    this.#act = act;
  }

  /** Whether a list is none that is older than the one shown: copies and late ones come too. */
  takes(list) {
    const shown = this.shown;
    if (!shown) return true;
    return list.rec_id !== shown.rec_id && newer(list, shown) >= 0;
  }

  replace(list) {
    this.#before = new Map((this.shown?.items ?? []).map((each) => [each.product.item_id, each.rank]));
    this.shown = list;
    const tops = this.#tops();
    this.draw();
    if (!calm.matches && !document.hidden) this.#move(tops);
  }

  draw() {
    const list = this.shown;
    this.#place.dataset.list = list?.rec_id ?? "";
    this.#place.dataset.bundle = list?.bundle ?? "";
    refill(this.#place, ...(list?.items ?? []).map((each) => this.#row(each, list)));
  }

  #row(item, list) {
    const { product } = item;
    const swatch = make("span", { class: "swatch small", "aria-hidden": "true" }, String(item.rank));
    swatch.style.setProperty("--hue", hue(product.category[0] ?? product.title));
    return make(
      "li",
      { "data-item": product.item_id },
      swatch,
      make(
        "span",
        { class: "what" },
        make(
          "button",
          {
            type: "button", class: "open", "data-key": product.item_id,
            click: (event) => this.#act("click", item, list, event.timeStamp),
          },
          product.title,
        ),
        make("span", { class: "sub" }, item.reasons[language] ?? ""),
      ),
      this.#moved(item),
    );
  }

  #moved(item) {
    if (!this.#before.size) return null;
    const before = this.#before.get(item.product.item_id);
    if (before === undefined) return make("span", { class: "moved new" }, say("new"));
    const up = before - item.rank;
    if (!up) return null;
    const text = `${up > 0 ? "↑" : "↓"}${Math.abs(up)}`;
    return make("span", { class: up > 0 ? "moved up" : "moved down" }, text);
  }

  #tops() {
    return new Map([...this.#place.children].map((each) => [each.dataset.item, each.offsetTop]));
  }

  #move(tops) {
    // All places are read before anything moves: else each look lays out the page anew.
    const places = this.#tops();
    for (const row of this.#place.children) {
      const before = tops.get(row.dataset.item);
      const frames =
        before === undefined
          ? [{ opacity: 0.2 }, { opacity: 1 }]
          : [{ transform: `translateY(${before - places.get(row.dataset.item)}px)` }, { transform: "none" }];
      row.animate(frames, { duration: 220, easing: "ease-out" });
    }
  }
}
