/**
 * The client of a Brain Game server, for browsers and Node. See README.md beside this file.
 *
 * @typedef {import("./login.js").Tokens} Tokens
 * @typedef {import("./actions.js").ActionOptions} ActionOptions
 * @typedef {import("./deadline.js").Patience} Patience
 * @typedef {import("./board-state.js").BoardState} BoardState
 * @typedef {import("./board-state.js").Entry} Entry
 * @typedef {import("./messages.js").SessionData} SessionData
 * @typedef {import("./messages.js").StageData} StageData
 * @typedef {import("./messages.js").UserData} UserData
 */

import { Game } from "./game.js";

export { BoardFeed } from "./board-feed.js";
export { ConnectionLost, ServerError } from "./errors.js";
export { Game } from "./game.js";
export { socketUrl } from "./socket.js";

/**
 * Connect, and stay connected until `disconnect`.
 *
 * @param {string} url as `wss://host/ws`; `socketUrl(location)` is that of the page's own server
 * @param {Partial<import("./world.js").World>} [world] instead of the real clock, WebSocket, …: for tests
 */
export function connect(url, world) {
  const game = new Game(url, world);
  game.open();
  return game;
}
