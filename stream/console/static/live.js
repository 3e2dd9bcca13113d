// The stream as it flows: rates, latency, lag, bundle, workers, and what was refused.

import { bar, sparkline, table, tile } from "./charts.js";
import { byId, make, refill } from "./dom.js";
import { clock, milliseconds, number, say } from "./words.js";

const SECONDS = 120;
const MOST_LETTERS = 20;

export class LiveView {
  #history = [];
  #letters = [];
  #figures = null;
  #bundle = { version: null, since: null, before: null };

  constructor(channel) {
    channel.addEventListener("greeting", ({ detail }) => {
      this.#history = detail.history;
      this.#letters = detail.letters.toReversed().slice(0, MOST_LETTERS);
      this.#drawLetters();
    });
    channel.addEventListener("letter", ({ detail }) => {
      this.#letters.unshift(detail);
      this.#letters.length = Math.min(this.#letters.length, MOST_LETTERS);
      this.#drawLetters();
    });
    channel.addEventListener("list", ({ detail }) => this.#see(detail.bundle));
    channel.addEventListener("figures", ({ detail }) => {
      this.#figures = detail;
      this.#history = [...this.#history, detail.beat].slice(-SECONDS);
      this.#see(detail.bundle);
      this.#draw();
    });
  }

  show() {
    this.#draw();
  }

  translate() {
    this.#draw();
    this.#drawLetters();
  }

  #see(version) {
    if (!version || version === this.#bundle.version) return;
    const before = this.#bundle.version;
    this.#bundle = { version, before, since: before ? Date.now() : null };
    this.#drawBundle();
  }

  #draw() {
    if (byId("stream").hidden || !this.#figures) return;
    byId("away").hidden = !this.#figures.is_away;
    this.#drawTiles();
    this.#drawLag();
    this.#drawBundle();
    this.#drawWorkers();
    const reasons = Object.entries(this.#figures.reasons).sort((a, b) => b[1] - a[1]);
    byId("reasons").textContent = reasons.map(([name, count]) => `${name} ${number(count)}`).join(" · ");
  }

  #drawTiles() {
    const { beat, latency } = this.#figures;
    const line = (name, label) =>
      sparkline(this.#history.map((each) => each[name] ?? 0), say("last_seconds", { what: label }), SECONDS);
    const quantile = (value) => (latency ? milliseconds(value(latency)) : "–");
    refill(
      byId("tiles"),
      tile(say("events_per_s"), number(beat.events_per_s), line("events_per_s", say("events_per_s"))),
      tile(say("lists_per_s"), number(beat.lists_per_s), line("lists_per_s", say("lists_per_s"))),
      tile(say("latency_p50"), quantile((each) => each.p50), line("p50", say("latency_p50"))),
      tile(say("latency_p90"), quantile((each) => each.p90), this.#minute(latency)),
      tile(say("latency_p99"), quantile((each) => each.p99), this.#minute(latency)),
      tile(say("lag"), number(beat.lag), line("lag", say("lag"))),
    );
  }

  #minute(latency) {
    return make("p", { class: "sub" }, say("of_lists", { count: number(latency?.lists ?? 0) }));
  }

  #drawLag() {
    const { partitions, all_partitions: all } = this.#figures;
    const most = Math.max(...partitions.map((each) => each.lag), 1);
    const rows = partitions.map((each) => [
      `${each.topic} ${each.partition}`,
      number(each.done),
      number(each.end),
      number(each.lag),
      bar(each.lag, most),
    ]);
    const columns = [say("partition"), say("done"), say("end"), say("lag"), ""];
    columns[4] = make("span", { class: "unseen" }, say("share"));
    refill(
      byId("lag"),
      table(say("lag_by_partition"), columns, rows, [1, 2, 3]),
      ...(all > partitions.length
        ? [make("p", { class: "note" }, say("worst_of", { shown: partitions.length, all: number(all) }))]
        : []),
    );
  }

  #drawBundle() {
    const { version, before, since } = this.#bundle;
    const lists = Object.entries(this.#figures?.bundles ?? {});
    refill(
      byId("bundle"),
      make("p", { class: "version", "data-version": version ?? "" }, version ?? say("no_list_yet")),
      ...(since ? [make("p", { class: "changed" }, say("swapped", { time: clock(since), before }))] : []),
      ...(lists.length
        ? [
            make(
              "p",
              { class: "note" },
              say("last_minute", {
                bundles: lists.map(([name, count]) => `${name} ${number(count)}`).join(" · "),
              }),
            ),
          ]
        : []),
    );
  }

  #drawWorkers() {
    const { workers } = this.#figures;
    if (!workers.length) {
      refill(byId("workers"), make("p", { class: "note" }, say("no_workers")));
      return;
    }
    const rate = (value) => (value === null ? "–" : number(value));
    const wait = (value) => (value === null ? "–" : milliseconds(value));
    const rows = workers.map((each) => [
      each.address,
      make("span", { class: `state ${each.state}` }, this.#state(each)),
      each.provider?.replace(/ExecutionProvider$/, "") ?? "–",
      rate(each.events_per_s),
      rate(each.lists_per_s),
      wait(each.p50_ms),
      wait(each.p99_ms),
      each.memory_mb === null ? "–" : number(each.memory_mb),
    ]);
    const columns = ["address", "state", "provider", "events_per_s", "lists_per_s", "p50", "p99", "memory_mb"];
    refill(byId("workers"), table(say("workers"), columns.map((each) => say(each)), rows, [3, 4, 5, 6, 7]));
  }

  #state({ state, waiting_for: parts }) {
    return parts.length ? say("waiting_for", { parts: parts.join(", ") }) : say(state);
  }

  #drawLetters() {
    refill(
      byId("letters"),
      ...this.#letters.map((each) =>
        make(
          "li",
          { "data-place": each.place },
          make("p", {}, make("span", { class: "kind bad" }, each.reason), ` ${each.source} `,
            make("time", { datetime: new Date(each.time).toISOString() }, clock(each.time))),
          make("p", { class: "sub" }, each.detail),
        ),
      ),
      ...(this.#letters.length ? [] : [make("li", { class: "note" }, say("no_letters"))]),
    );
  }
}
