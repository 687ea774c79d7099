/** Says calmly that the connection is gone, and that it is back. */

/** A connection that is gone for a moment only is nobody's business. */
const GRACE_MS = 1200;
const BACK_MS = 2500;

/**
 * @param {HTMLElement} banner
 * @param {import("/client/game.js").Game} game
 * @param {typeof import("../texts.en.js").default} texts
 */
export function setUpConnectionBanner(banner, game, texts) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @param {string} state @param {string} text */
  const show = (state, text) => {
    banner.dataset.state = state;
    banner.textContent = text;
  };
  const lost = () => {
    if (banner.dataset.state !== "offline") {
      clearTimeout(timer);
      timer = setTimeout(() => show("offline", texts.offline), GRACE_MS);
    }
  };
  game.addEventListener("down", lost);
  game.addEventListener("up", () => {
    clearTimeout(timer);
    if (banner.dataset.state === "offline") {
      show("back", texts.backOnline);
      timer = setTimeout(() => show("", ""), BACK_MS);
    }
  });
  if (!game.connected) {
    lost();
  }
}
