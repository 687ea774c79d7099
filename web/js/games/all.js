/** The games that this page can play, by the server's names. */

import * as drawing from "./drawing.js";
import * as sequence from "./sequence.js";
import * as sums from "./sums.js";

/** @type {Record<string, import("./game.js").MiniGame>} */
export const GAMES = { sequence, sums, drawing };
