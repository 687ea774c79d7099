/** Dark and light: the system's choice, until somebody uses the switch. */

const KEY = "braingame.theme";

export function setUpTheme(button, texts) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => read() ?? (system.matches ? "dark" : "light");
  const show = () => {
    const theme = current();
    document.documentElement.dataset.theme = theme;
    // Says what a press leads to.
    button.textContent = texts.theme[theme === "dark" ? "light" : "dark"];
  };
  button.addEventListener("click", () => {
    write(current() === "dark" ? "light" : "dark");
    show();
  });
  system.addEventListener("change", show);
  show();
}

function read() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // Storage may be switched off; then the choice lasts as long as the page.
  }
}

function write(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    document.documentElement.dataset.theme = theme;
  }
}
