/* Not a module, which would run after the first paint: a page in the wrong theme must not flash. See theme.js. */
{
  let chosen = null;
  try {
    chosen = localStorage.getItem("braingame.theme");
  } catch {
    // Storage may be switched off; then the system decides.
  }
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
