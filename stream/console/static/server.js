// The two ways between page and server: events go by POST, everything comes by server-sent events.

const USER = "nextclick-user";
const MOST_PENDING = 100;

const random = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (each) => each.toString(16).padStart(2, "0")).join("");

/** Who shops here; a stranger gets an id of his own, which this browser keeps. */
export function user() {
  let found = localStorage.getItem(USER);
  if (!found) {
    found = `visitor-${random()}`;
    localStorage.setItem(USER, found);
  }
  return found;
}

export function become(id) {
  localStorage.setItem(USER, id);
}

/** A JSON answer; an Error that holds what the server says of a problem. */
export async function ask(path, options) {
  const answer = await fetch(path, options);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.detail ?? `${answer.status}`);
  return body;
}

/** Messages of the server to one user, by kind; connects again by itself. */
export class Channel extends EventTarget {
  #source = null;

  open() {
    this.#source?.close();
    const source = new EventSource(`stream?user=${encodeURIComponent(user())}`);
    this.#source = source;
    for (const kind of ["greeting", "list", "letter", "figures"]) {
      source.addEventListener(kind, (sent) => {
        this.#tell(kind, JSON.parse(sent.data));
      });
    }
    source.addEventListener("open", () => this.#tell("link", { is_open: true }));
    source.addEventListener("error", () => {
      this.#tell("link", { is_open: false });
      // A refusal ends it for good, where a broken line does not.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => this.open(), 2_000);
    });
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

/** What the user has done, and how long each deed's list took. */
export class Deeds extends EventTarget {
  #pending = new Map();

  /** Send an event; `since` is when the user acted, by the page's own clock. */
  async send(type, fields, since, name) {
    const deed = { id: random(), type, name, since, place: null, ms: null, fault: null };
    const event = { type, event_id: deed.id, user_id: user(), ts: Date.now(), ...fields };
    this.#pending.set(deed.id, deed);
    if (this.#pending.size > MOST_PENDING) this.#pending.delete(this.#pending.keys().next().value);
    const sent = post(event); // first: what the page draws meanwhile keeps nobody waiting
    this.#tell("deed", deed);
    try {
      const { results } = await sent;
      deed.place = results[0];
    } catch (error) {
      this.#pending.delete(deed.id);
      deed.fault = error.message;
      this.#tell("deed", deed);
    }
  }

  /** Tell what of a list was looked at; it gets no list of its own. */
  async look(list) {
    const items = list.items.map((each) => each.product.item_id);
    const event = {
      type: "impression", event_id: random(), user_id: user(), ts: Date.now(),
      rec_id: list.rec_id, item_ids: items,
    };
    await post(event).catch(() => {}); // the next deed says whether Kafka is there
  }

  /** The deeds that a list answers: its cause, and what its user did before it. */
  answered(list) {
    const { partition, offset } = list.as_of;
    const found = [...this.#pending.values()].filter(
      (each) =>
        each.id === list.event_id ||
        (each.type !== "search" && each.place?.partition === partition && each.place.offset <= offset),
    );
    for (const each of found) this.#pending.delete(each.id);
    return found;
  }

  /** Note when the list of these deeds was on the screen. */
  settle(deeds, shown) {
    for (const each of deeds) {
      each.ms = shown - each.since;
      this.#tell("deed", each);
    }
  }

  #tell(kind, detail) {
    this.dispatchEvent(new CustomEvent(kind, { detail }));
  }
}

export const forget = (id) =>
  post({ type: "forget", event_id: random(), user_id: id, ts: Date.now() });

const post = (event) =>
  ask("events", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(event),
  });
