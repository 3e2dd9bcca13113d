// The storefront: shelves on one side, the list that follows every deed on the other.

import { afterPaint, byId, hue, icon, make, refill } from "./dom.js";
import { RankedList } from "./list.js";
import { ask } from "./server.js";
import { milliseconds, moment, number, say } from "./words.js";

const PAGE = 60;
const MOST_DEEDS = 8;

export class ShopView {
  #deeds;
  #query = "";
  #department = null;
  #shelf = null;
  #done = [];
  #list;
  #asked = 0;

  constructor(channel, deeds) {
    this.#deeds = deeds;
    this.#list = new RankedList(byId("list"), (type, item, list, since) =>
      this.#act(type, item.product, since, { rec_id: list.rec_id, position: item.rank - 1 }),
    );
    channel.addEventListener("greeting", ({ detail }) => this.#greet(detail));
    channel.addEventListener("list", ({ detail }) => this.#receive(detail));
    deeds.addEventListener("deed", ({ detail }) => this.#note(detail));
    byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#search(byId("query").value.trim(), event.timeStamp);
    });
    byId("more").addEventListener("click", () => this.#load(this.#shelf.products.length));
  }

  show() {
    if (!this.#shelf) this.#load(0);
  }

  translate() {
    this.#list.draw();
    this.#tellCause();
    this.#drawDeeds();
    if (this.#shelf) this.#drawShelf();
  }

  #greet(greeting) {
    this.#done = [];
    this.#drawDeeds();
    this.#list.replace(greeting.last_list);
    this.#tellCause();
    byId("wait").hidden = true;
    if (!this.#shelf) this.#load(0);
  }

  #search(query, since) {
    this.#query = query;
    this.#department = null;
    this.#load(0);
    if (query) this.#deeds.send("search", { query }, since, query);
  }

  #act(type, product, since, more = {}) {
    const priced = type !== "click" && product.price !== null ? { price: product.price } : {};
    const { position, ...rest } = more;
    const placed = type === "click" && position !== undefined ? { position } : {};
    this.#deeds.send(type, { item_id: product.item_id, ...priced, ...rest, ...placed }, since, product.title);
  }

  #receive(list) {
    const answered = this.#deeds.answered(list);
    if (!this.#list.takes(list)) return;
    this.#list.replace(list);
    this.#tellCause();
    afterPaint(() => {
      this.#deeds.settle(answered, performance.now());
      this.#deeds.look(list);
    });
  }

  #tellCause() {
    const list = this.#list.shown;
    const cause = byId("cause");
    if (!list) cause.textContent = say("no_list_yet");
    else if (list.query) cause.textContent = say("for_search", { query: list.query });
    else cause.textContent = say("after_event", { time: moment(list.ts) });
  }

  #note(deed) {
    if (!this.#done.includes(deed)) this.#done.unshift(deed);
    this.#done.length = Math.min(this.#done.length, MOST_DEEDS);
    this.#drawDeeds();
    if (deed.ms === null) return;
    const wait = byId("wait");
    wait.hidden = false;
    wait.textContent = milliseconds(deed.ms);
    wait.title = say("wait_title");
    wait.dataset.event = deed.id;
    wait.dataset.ms = deed.ms.toFixed(1);
  }

  #drawDeeds() {
    byId("actions").replaceChildren(
      ...this.#done.map((each) =>
        make(
          "li",
          { class: each.fault ? "bad" : false },
          make("span", { class: `kind ${each.type}` }, say(`kind_${each.type}`)),
          make("span", { class: "what" }, each.name),
          make("span", { class: "ms" }, each.fault ?? (each.ms === null ? "…" : milliseconds(each.ms))),
        ),
      ),
    );
  }

  async #load(already) {
    const asked = ++this.#asked;
    const wanted = new URLSearchParams({ first: already + 1, count: PAGE });
    if (this.#query) wanted.set("query", this.#query);
    if (this.#department) wanted.set("department", this.#department);
    try {
      const found = await ask(`products?${wanted}`);
      if (asked !== this.#asked) return; // a newer search has been asked meanwhile
      if (already) found.products.unshift(...this.#shelf.products);
      this.#shelf = found;
      this.#drawShelf();
    } catch (error) {
      byId("shelf-title").textContent = error.message;
    }
  }

  #drawShelf() {
    const { products, total, departments } = this.#shelf;
    byId("shelf-title").textContent = this.#query
      ? say("found", { count: number(total), query: this.#query })
      : say("catalogue", { count: number(total) });
    byId("more").hidden = products.length >= total;
    byId("products").replaceChildren(...products.map((each) => this.#card(each)));
    const chosen = [{ name: null }, ...departments];
    byId("departments").hidden = departments.length < 2;
    refill(
      byId("departments"),
      ...chosen.map(({ name }) =>
        make(
          "button",
          {
            type: "button",
            "data-key": name ?? "",
            "aria-pressed": String(name === this.#department),
            click: () => {
              this.#department = name;
              this.#load(0);
            },
          },
          name ?? say("all"),
        ),
      ),
    );
  }

  #card(product) {
    const act = (type) => (event) => this.#act(type, product, event.timeStamp);
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" }, [...product.title][0]);
    swatch.style.setProperty("--hue", hue(product.category[0] ?? product.title));
    const deed = (type, name) =>
      make(
        "button",
        {
          type: "button", class: "icon", click: act(type), "data-type": type,
          "aria-label": say(`${type}_item`, { title: product.title }), title: say(`kind_${type}`),
        },
        icon(name),
      );
    return make(
      "article",
      { class: "product", "data-item": product.item_id },
      swatch,
      make("h3", {}, make("button", { type: "button", class: "open", click: act("click") }, product.title)),
      make("p", { class: "sub" }, [product.brand, product.category.at(-1)].filter(Boolean).join(" · ")),
      make(
        "p",
        { class: "deeds" },
        make("span", { class: "price" }, product.price === null ? "" : number(product.price, 2)),
        deed("cart", "cart"),
        deed("purchase", "buy"),
      ),
    );
  }
}
