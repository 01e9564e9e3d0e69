// Light or dark: as the system is, until the user switches. This browser then remembers it.

const KEY = "discoformer-theme";
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

const ofSystem = () => (system.matches ? "dark" : "light");

export const isDark = () => (root.dataset.theme ?? ofSystem()) === "dark";

/** Makes a button the switch; calls `changed` when the theme changes, by the button or by the system. */
export function wireTheme(button, changed) {
  const show = () => {
    button.setAttribute("aria-pressed", String(isDark()));
    changed();
  };
  button.addEventListener("click", () => {
    choose(isDark() ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  choose(remembered() ?? ofSystem());
  show();
}

/** Shows a theme. That of the system is not remembered, so that the page follows it again. */
function choose(theme) {
  const own = theme === ofSystem() ? null : theme;
  if (own) root.dataset.theme = own;
  else delete root.dataset.theme;
  try {
    if (own) localStorage.setItem(KEY, own);
    else localStorage.removeItem(KEY);
  } catch {
    // the browser keeps nothing for this page
  }
}

function remembered() {
  try {
    const theme = localStorage.getItem(KEY);
    return ["light", "dark"].includes(theme) ? theme : null;
  } catch {
    return null;
  }
}
