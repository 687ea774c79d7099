/** One player's visits: the tokens are kept in the browser, for the next page, the next tab and the next day. */

import { connect, socketUrl } from "/client/braingame.js";

/** @typedef {import("/client/login.js").Tokens} Tokens */

const KEY = "braingame.tokens";
/** Where the browser has no locks between tabs (a page without TLS), tabs renew at different moments. */
const APART_MS = 3000;
/** Without a connection the page waits; it says so. */
const A_DAY_MS = 86_400_000;

/**
 * The connection of this page. `resumed` is null for who is new here; otherwise it settles when the server has said
 * whether the kept login is still one.
 */
export function openGame() {
  const game = connect(socketUrl(location), { shared: { newest: load, alone } });
  const tokens = load();
  game.addEventListener("tokens", (event) => keep(/** @type {CustomEvent<Tokens | null>} */ (event).detail));
  const resumed = tokens === null ? null : game.resume(tokens, { timeoutMs: A_DAY_MS });
  return { game, resumed };
}

/** @returns {Tokens | null} */
function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "null");
  } catch {
    return null;
  }
}

/** @param {Tokens | null} tokens */
function keep(tokens) {
  try {
    if (tokens === null) {
      localStorage.removeItem(KEY);
    } else {
      localStorage.setItem(KEY, JSON.stringify(tokens));
    }
  } catch {
    // Storage may be switched off; then a login lasts as long as the page.
  }
}

/**
 * @template T
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 */
async function alone(job) {
  if (navigator.locks === undefined) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * APART_MS));
    return job();
  }
  return /** @type {Promise<T>} */ (navigator.locks.request(KEY, job));
}
