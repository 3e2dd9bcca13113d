// Light or dark: as the system has it, until somebody says otherwise.

const KEPT = "nextclick-theme";
const system = matchMedia("(prefers-color-scheme: dark)");

const present = () => document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light");

/** Take up what was chosen before, and have a button change it. */
export function followTheme(button) {
  const kept = localStorage.getItem(KEPT);
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
  const tell = () => button.setAttribute("aria-pressed", String(present() === "dark"));
  button.addEventListener("click", () => {
    const other = present() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = other;
    localStorage.setItem(KEPT, other);
    tell();
  });
  system.addEventListener("change", tell);
  tell();
}
