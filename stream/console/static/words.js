// What the page says, in the language that its user has chosen or that the browser prefers.

const KEPT = "nextclick-language";
export const LANGUAGES = ["en", "zh"];

let words = {};
export let language = "en";

const preferred = () => {
  const kept = localStorage.getItem(KEPT);
  if (LANGUAGES.includes(kept)) return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
};

/** Load a language, the preferred one unless one is named, and put its words into the page. */
export async function speak(chosen) {
  const wanted = chosen ?? preferred();
  words = await (await fetch(`${wanted}.json`)).json();
  language = wanted;
  if (chosen) localStorage.setItem(KEPT, chosen);
  document.documentElement.lang = wanted === "zh" ? "zh-Hans" : wanted;
  for (const each of document.querySelectorAll("[data-say]")) each.textContent = say(each.dataset.say);
  for (const each of document.querySelectorAll("[data-label]")) {
    each.setAttribute("aria-label", say(each.dataset.label));
  }
  for (const each of document.querySelectorAll("[data-hint]")) {
    each.placeholder = say(each.dataset.hint);
  }
}

/** A sentence by its key, with what stands in braces filled in. */
export function say(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  }).format(value);

export const milliseconds = (value) => `${number(value, value < 10 ? 1 : 0)} ms`;

export const clock = (time) =>
  new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" }).format(time);

export const moment = (time, older = { dateStyle: "medium" }) =>
  Date.now() - time < 12 * 3_600_000
    ? clock(time)
    : new Intl.DateTimeFormat(language, older).format(time);
