// Puts the page together: language, theme, the three views, and what the server sends them.

import { byId } from "./dom.js";
import { LiveView } from "./live.js";
import { PersonView } from "./person.js";
import { Channel, Deeds } from "./server.js";
import { ShopView } from "./shop.js";
import { followTheme } from "./theme.js";
import { language, LANGUAGES, say, speak } from "./words.js";

const NAMES = { en: "English", zh: "中文" };

await speak();
followTheme(byId("theme"));

const channel = new Channel();
const deeds = new Deeds();
const views = {
  shop: new ShopView(channel, deeds),
  stream: new LiveView(channel),
  person: new PersonView(channel),
};

let isLinked = false;
channel.addEventListener("link", ({ detail }) => {
  isLinked = detail.is_open;
  tellLink();
});

function tellLink() {
  const link = byId("link");
  link.textContent = say(isLinked ? "linked" : "not_linked");
  link.classList.toggle("on", isLinked);
}

function tellLanguage() {
  const button = byId("language");
  const other = LANGUAGES.find((each) => each !== language);
  button.textContent = NAMES[other];
  button.lang = other;
}

byId("language").addEventListener("click", async () => {
  await speak(LANGUAGES.find((each) => each !== language));
  tellLanguage();
  tellLink();
  for (const view of Object.values(views)) view.translate();
});

let shown = null;

function show(focus) {
  const wanted = location.hash.slice(1);
  const name = wanted in views ? wanted : "shop";
  if (wanted === "main" && shown) return;
  for (const each of Object.keys(views)) byId(each).hidden = each !== name;
  for (const each of document.querySelectorAll("nav a")) {
    if (each.hash === `#${name}`) each.setAttribute("aria-current", "page");
    else each.removeAttribute("aria-current");
  }
  if (name !== shown) views[name].show();
  shown = name;
  if (focus) byId("main").focus({ preventScroll: true });
}

addEventListener("hashchange", () => show(true));
tellLanguage();
tellLink();
show(false);
channel.open();
document.documentElement.dataset.ready = "";
