// A user as he is derived from his profile, and the lists he was given with their lineage.

import { bar, table, tile } from "./charts.js";
import { byId, make, refill } from "./dom.js";
import { newer } from "./list.js";
import { ask, become, forget, user } from "./server.js";
import { language, milliseconds, moment, number, say } from "./words.js";

const MOST_LISTS = 8;
const SOON_MS = 600;
const MOST_LOOKS = 100; // for a forgetting: a minute, which a busy stream may take
const TO_THE_SECOND = { dateStyle: "short", timeStyle: "medium", hourCycle: "h23" };

export class PersonView {
  #channel;
  #person = null;
  #id = user();
  #lists = []; // newest first
  #chosen = null; // none: the newest
  #later = null;
  #looks = 0; // still to be taken, until he is forgotten

  constructor(channel) {
    this.#channel = channel;
    channel.addEventListener("list", ({ detail }) => {
      if (this.#id === user()) this.#follow(detail);
    });
    channel.addEventListener("greeting", ({ detail }) => {
      if (detail.last_list && this.#id === user()) this.#keep([detail.last_list]);
    });
    byId("who").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#look(byId("user").value.trim());
    });
    byId("shop-as").addEventListener("click", () => {
      const id = byId("user").value.trim();
      if (!id) return;
      become(id);
      this.#channel.open();
      this.#look(id);
    });
    byId("forget").addEventListener("click", () => this.#forget());
  }

  show() {
    byId("user").value ||= this.#id;
    this.#look(this.#id);
  }

  translate() {
    this.#draw();
  }

  async #look(id) {
    if (id !== this.#id) {
      this.#lists = [];
      this.#person = null;
      this.#looks = 0;
    }
    this.#id = id;
    let found;
    try {
      found = await ask(`users/${encodeURIComponent(id)}`);
    } catch (error) {
      byId("person-note").textContent = error.message;
      this.#unlessForgotten();
      return;
    }
    if (id !== this.#id) return; // somebody else has been asked for meanwhile
    // Whoever has been forgotten, here or elsewhere, has the lists alone that the server tells.
    if (found.forgotten_until !== (this.#person?.forgotten_until ?? -1)) {
      this.#lists = [];
      this.#looks = 0;
    }
    this.#person = found;
    this.#keep(found.last_lists);
    this.#draw();
    this.#unlessForgotten();
  }

  #unlessForgotten() {
    if (this.#looks && this.#looks--) this.#soon();
  }

  async #forget() {
    const id = byId("user").value.trim();
    if (!id || !confirm(say("forget_sure", { user: id }))) return;
    try {
      await forget(id);
      this.#lists = [];
      if (id === this.#id) this.#looks = MOST_LOOKS;
      this.#soon();
    } catch (error) {
      byId("person-note").textContent = error.message;
    }
  }

  #follow(list) {
    this.#keep([list]);
    if (!byId("person").hidden) this.#soon();
  }

  #soon() {
    clearTimeout(this.#later);
    this.#later = setTimeout(() => this.#look(this.#id), SOON_MS);
  }

  #keep(lists) {
    const newest = this.#lists[0];
    const once = new Map([...lists, ...this.#lists].map((each) => [each.rec_id, each]));
    this.#lists = [...once.values()].sort((a, b) => newer(b, a) || b.ts - a.ts).slice(0, MOST_LISTS);
    if (this.#lists[0] !== newest) this.#chosen = null;
  }

  #draw() {
    const found = this.#person;
    if (!found || byId("person").hidden) return;
    byId("person-note").textContent = found.is_known ? "" : say("unknown_user");
    refill(
      byId("facts"),
      tile(say("interactions"), number(found.interactions)),
      tile(say("searches"), number(found.searches)),
      tile(say("purchases"), number(found.purchases)),
      tile(say("traits"), number(found.traits)),
      tile(say("profile_bytes"), number(found.bytes)),
    );
    this.#drawPast(found.events);
    this.#drawAffinities(found);
    this.#drawLists();
  }

  #drawPast(events) {
    refill(
      byId("past"),
      ...events.map((each) =>
        make(
          "li",
          {},
          make("span", { class: `kind ${each.kind}` }, say(`kind_${each.kind}`)),
          make("span", { class: "what" }, each.query ?? each.product?.title ?? say("gone_item")),
          make("time", { class: "ms", datetime: new Date(each.time).toISOString() }, moment(each.time)),
        ),
      ),
      ...(events.length ? [] : [make("li", { class: "note" }, say("nothing"))]),
    );
  }

  #drawAffinities({ categories, brands }) {
    const part = (title, found, text) => {
      const most = Math.max(...found.map((each) => each.events), 1);
      const rows = found.map((each) => [
        text(each.name),
        bar(each.events, most),
        number(each.events),
        `${number(each.lift, 1)}×`,
      ]);
      const columns = [title, make("span", { class: "unseen" }, say("share")), say("events"), say("lift")];
      return table(title, columns, rows, [2, 3]);
    };
    const parts = [];
    if (categories.length) parts.push(part(say("category"), categories, (name) => name.join(" › ")));
    if (brands.length) parts.push(part(say("brand"), brands, (name) => name[0]));
    if (!parts.length) parts.push(make("p", { class: "note" }, say("nothing")));
    refill(byId("affinities"), ...parts);
  }

  #drawLists() {
    const list = this.#lists.includes(this.#chosen) ? this.#chosen : this.#lists[0];
    if (!list) {
      refill(byId("lineage"), make("p", { class: "note" }, say("no_list_yet")));
      return;
    }
    const choice = make(
      "div",
      { class: "chips", role: "group", "aria-label": say("last_lists") },
      ...this.#lists.map((each) =>
        make(
          "button",
          {
            type: "button",
            "data-key": each.rec_id,
            "aria-pressed": String(each === list),
            click: () => {
              this.#chosen = each;
              this.#drawLists();
            },
          },
          moment(each.ts, TO_THE_SECOND),
        ),
      ),
    );
    refill(byId("lineage"), choice, lineage(list), items(list));
  }
}

function lineage(list) {
  const steps = Object.entries(list.step_ms).map(([name, ms]) => `${name} ${milliseconds(ms)}`);
  const { topic, partition, offset } = list.as_of;
  const facts = {
    caused_by: list.event_id,
    as_of: `${topic} ${partition}:${offset}`,
    version: list.bundle,
    list_id: list.rec_id,
    query: list.query,
    steps: steps.join(" · "),
  };
  return make(
    "dl",
    { class: "lineage" },
    ...Object.entries(facts)
      .filter(([, value]) => value)
      .flatMap(([name, value]) => [make("dt", {}, say(name)), make("dd", {}, value)]),
  );
}

function items(list) {
  const rows = list.items.map((each) => [
    number(each.rank),
    each.product.title,
    number(each.score, 3),
    each.sources.map((name) => say(`source_${name}`)).join(", "),
    make(
      "span",
      {},
      each.reasons[language] ?? "",
      ...each.contributions.map((from) =>
        make("span", { class: "sub" }, `+${number(from.amount, 3)} ${from.title}`),
      ),
    ),
  ]);
  const columns = ["rank", "item", "score", "sources", "reason"].map((each) => say(each));
  return table(say("last_lists"), columns, rows, [0, 2]);
}
