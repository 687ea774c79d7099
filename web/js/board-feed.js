/**
 * Follows one board over a LiveSocket and keeps its state whole.
 *
 * Events: `state` (see `state`), `live` and `stale` (whether what is shown is what the server has), `unknown` (there is no
 * such board).
 */

import { applyDelta, fromLeaderboard } from "./board-state.js";
import { ServerError } from "./socket.js";

const RETRY_MS = 1000;

export class BoardFeed extends EventTarget {
  #socket;
  #board;
  #limit;
  #asking = false;

  constructor(socket, board, limit) {
    super();
    this.#socket = socket;
    this.#board = board;
    this.#limit = limit;
    /** @type {import("./board-state.js").BoardState | null} */
    this.state = null;
    socket.addEventListener("up", () => this.#subscribe());
    socket.addEventListener("down", () => this.dispatchEvent(new Event("stale")));
    socket.addEventListener("push", ({ detail }) => this.#take(detail));
  }

  async #subscribe() {
    if (this.#asking) {
      return;
    }
    this.#asking = true;
    const since = this.state && { epoch: this.state.epoch, version: this.state.version };
    try {
      const message = await this.#socket.request("leaderboard.subscribe", {
        board: this.#board,
        limit: this.#limit,
        ...(since && { since }),
      });
      this.#show(fromLeaderboard(message, this.state));
    } catch (error) {
      if (error instanceof ServerError && ["unknown_board", "invalid"].includes(error.code)) {
        this.dispatchEvent(new Event("unknown"));
      } else if (error instanceof ServerError) {
        // The boards are away for a moment; the connection is not.
        setTimeout(() => this.#subscribe(), RETRY_MS);
      }
    } finally {
      this.#asking = false;
    }
  }

  #take({ type, data }) {
    if (data?.board !== this.#board || this.#asking) {
      // While a full state is on its way, deltas are for a state that is gone.
      return;
    }
    if (type === "leaderboard") {
      this.#show(fromLeaderboard(data, this.state));
    } else if (type === "leaderboard.delta" && this.state !== null) {
      this.#show(applyDelta(this.state, data, this.#limit));
    }
  }

  #show(state) {
    if (state === null) {
      this.state = null;
      this.#asking = false;
      this.#subscribe();
      return;
    }
    this.state = state;
    this.dispatchEvent(new Event("state"));
    this.dispatchEvent(new Event("live"));
  }
}
