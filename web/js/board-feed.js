/**
 * Follows one board over a LiveSocket and keeps its state whole.
 *
 * Events: `state` (see `state`; it is what the server has), `stale` (it may not be any more), `unknown` (there is no such
 * board).
 */

import { applyDelta, fromLeaderboard } from "./board-state.js";
import { ServerError } from "./socket.js";

/** @typedef {import("./board-state.js").BoardState} BoardState */

const RETRY_MS = 1000;

export class BoardFeed extends EventTarget {
  #socket;
  #board;
  #limit;
  /** Counts the subscriptions: only the answer to the newest one is taken. */
  #round = 0;
  /** While a subscription is on its way, deltas are for a state that is gone. */
  #asking = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /**
   * @param {import("./socket.js").LiveSocket} socket
   * @param {string} board
   * @param {number} limit
   */
  constructor(socket, board, limit) {
    super();
    this.#socket = socket;
    this.#board = board;
    this.#limit = limit;
    /** @type {BoardState | null} */
    this.state = null;
    socket.addEventListener("up", () => this.#subscribe());
    socket.addEventListener("down", () => this.#lose());
    socket.addEventListener("push", (event) => this.#take(/** @type {CustomEvent} */ (event).detail));
  }

  async #subscribe() {
    clearTimeout(this.#retry);
    this.#round += 1;
    this.#asking = true;
    const round = this.#round;
    const since = this.state && { epoch: this.state.epoch, version: this.state.version };
    const wish = { board: this.#board, limit: this.#limit, ...(since && { since }) };
    try {
      const message = await this.#socket.request("leaderboard.subscribe", wish);
      if (round === this.#round) {
        this.#asking = false;
        this.#hold(fromLeaderboard(message, this.state));
      }
    } catch (error) {
      // A lost connection is not dealt with here: `down` says so, and `up` follows.
      if (error instanceof ServerError && round === this.#round) {
        this.#refused(error);
      }
    }
  }

  /** @param {ServerError} error */
  #refused(error) {
    if (error.code === "unknown_board" || error.code === "invalid") {
      this.dispatchEvent(new Event("unknown"));
      return;
    }
    this.dispatchEvent(new Event("stale"));
    this.#retry = setTimeout(() => this.#subscribe(), error.retryAfterMs ?? RETRY_MS);
  }

  /** @param {{type: string, data?: any}} push */
  #take({ type, data }) {
    if (data?.board !== this.#board || this.#asking) {
      return;
    }
    if (type === "leaderboard") {
      this.#hold(fromLeaderboard(data, this.state));
    } else if (type === "leaderboard.delta" && this.state !== null) {
      const next = applyDelta(this.state, data, this.#limit);
      if (next === null) {
        this.#subscribe();
      } else {
        this.#hold(next);
      }
    }
  }

  /** @param {BoardState | null} state */
  #hold(state) {
    const hadNone = this.state === null;
    this.state = state;
    if (state !== null) {
      this.dispatchEvent(new Event("state"));
    } else if (hadNone) {
      this.#retry = setTimeout(() => this.#subscribe(), RETRY_MS);
    } else {
      this.#subscribe();
    }
  }

  #lose() {
    clearTimeout(this.#retry);
    this.#round += 1;
    this.#asking = false;
    this.dispatchEvent(new Event("stale"));
  }
}
