/** Dark and light: the system's choice, until somebody uses the switch. theme-early.js has set it before the first paint. */

const KEY = "braingame.theme";

/**
 * @param {HTMLElement} button
 * @param {typeof import("./texts.en.js").default} texts
 */
export function setUpTheme(button, texts) {
  const root = document.documentElement;
  /** @param {boolean} dark */
  const show = (dark) => {
    root.dataset.theme = dark ? "dark" : "light";
    const label = dark ? texts.toLight : texts.toDark;
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    show(root.dataset.theme !== "dark");
    remember(root.dataset.theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => {
    if (!isChosen()) {
      show(matches);
    }
  });
  show(root.dataset.theme === "dark");
  button.hidden = false;
}

function isChosen() {
  try {
    return localStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}

/** @param {string | undefined} theme */
function remember(theme) {
  try {
    localStorage.setItem(KEY, String(theme));
  } catch {
    // Storage may be switched off; then the choice lasts as long as the page.
  }
}
