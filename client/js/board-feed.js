/**
 * Follows one board over a LiveSocket and keeps its state whole.
 *
 * Events: `state` (see `state`; it is what the server has), `stale` (it may not be any more), `place` (see `place`),
 * `unknown` (there is no such board), `unfollowed`.
 */

import { applyDelta, fromLeaderboard } from "./board-state.js";
import { ServerError } from "./errors.js";
import { makeWorld } from "./world.js";

/** @typedef {import("./board-state.js").BoardState} BoardState */
/** @typedef {import("./messages.js").LeaderboardPlaceData} Place */

const RETRY_MS = 1000;

export class BoardFeed extends EventTarget {
  #socket;
  #limit;
  #world;
  #ended = new AbortController();
  /** Counts the subscriptions: only the answer to the newest one is taken. */
  #round = 0;
  /** While a subscription is on its way, deltas are for a state that is gone. */
  #asking = false;
  /** The server cannot tell whether its own state is the newest. */
  #isDoubted = false;
  /** The place was told on a connection that is gone. */
  #isPlaceOld = false;
  /** @type {any} */
  #retry;

  /**
   * @param {import("./socket.js").LiveSocket} socket
   * @param {string} board
   * @param {number} limit
   * @param {Partial<import("./world.js").World>} [world] instead of the real one
   */
  constructor(socket, board, limit, world = {}) {
    super();
    this.#socket = socket;
    this.#limit = limit;
    this.#world = makeWorld(world);
    this.board = board;
    /** The newest that is known, whether or not it is live. @type {BoardState | null} */
    this.state = null;
    /** Whether `state` is what the server has. */
    this.live = false;
    /** Where the player stands; null when that is not known, or for a spectator. @type {Place | null} */
    this.place = null;
  }

  /** Begin, at once or as soon as there is a connection. */
  open() {
    const { signal } = this.#ended;
    this.#socket.addEventListener("up", () => this.#subscribe(), { signal });
    this.#socket.addEventListener("down", () => this.#lose(), { signal });
    this.#socket.addEventListener("push", (event) => this.#take(/** @type {CustomEvent} */ (event).detail), { signal });
    if (this.#socket.connected) {
      this.#subscribe();
    } else {
      this.#socket.wake();
    }
  }

  /** For good. What is known stays to be looked at. */
  unfollow() {
    if (this.#ended.signal.aborted) {
      return;
    }
    this.#ended.abort();
    this.#lose();
    // Nobody listens any more, so it does not matter if this is lost or refused.
    this.#socket.request("leaderboard.unsubscribe", { board: this.board }).catch(() => {});
    this.dispatchEvent(new Event("unfollowed"));
  }

  /** Whoever the place was of is gone. */
  forgetPlace() {
    if (this.place !== null) {
      this.place = null;
      this.dispatchEvent(new Event("place"));
    }
  }

  async #subscribe() {
    this.#world.clearTimeout(this.#retry);
    this.#round += 1;
    this.#asking = true;
    const round = this.#round;
    const since = this.state && { epoch: this.state.epoch, version: this.state.version };
    const wish = { board: this.board, limit: this.#limit, ...(since && { since }) };
    try {
      const message = await this.#socket.request("leaderboard.subscribe", /** @type {any} */ (wish));
      if (round === this.#round) {
        this.#asking = false;
        this.#replace(message);
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
    this.#fade();
    this.#retry = this.#world.setTimeout(() => this.#subscribe(), error.retryAfterMs ?? RETRY_MS);
  }

  /** @param {{type: string, data?: any}} push */
  #take({ type, data }) {
    if (data?.board !== this.board) {
      return;
    }
    if (type === "leaderboard.place") {
      // Read on its own: it needs no state to build on.
      this.place = data;
      this.#isPlaceOld = false;
      this.dispatchEvent(new Event("place"));
    } else if (this.#asking) {
      return;
    } else if (type === "leaderboard") {
      this.#replace(data);
    } else if (type === "leaderboard.stale" && this.state !== null) {
      this.#isDoubted = data.stale;
      this.#show();
    } else if (type === "leaderboard.delta" && this.state !== null) {
      const next = applyDelta(this.state, data, this.#limit);
      if (next === null) {
        this.#subscribe();
      } else {
        this.#hold(next);
      }
    }
  }

  /** @param {any} message the data of a `leaderboard` */
  #replace(message) {
    this.#isDoubted = message.stale === true;
    this.#hold(fromLeaderboard(message, this.state));
  }

  /** What is held is what the server has, or may not be the newest any more. */
  #show() {
    this.live = !this.#isDoubted;
    this.dispatchEvent(new Event("state"));
    if (this.#isDoubted) {
      this.dispatchEvent(new Event("stale"));
    }
  }

  /** @param {BoardState | null} next */
  #hold(next) {
    const held = this.state;
    this.state = next;
    if (next !== null) {
      if (this.#isPlaceOld && this.place?.epoch !== next.epoch) {
        // Who has no entry on the board of the new day is not told so on a new connection.
        this.forgetPlace();
      }
      this.#show();
    } else if (held === null) {
      this.#retry = this.#world.setTimeout(() => this.#subscribe(), RETRY_MS);
    } else {
      this.#subscribe();
    }
  }

  #lose() {
    this.#world.clearTimeout(this.#retry);
    this.#round += 1;
    this.#asking = false;
    this.#isPlaceOld = true;
    this.#fade();
  }

  #fade() {
    this.live = false;
    this.dispatchEvent(new Event("stale"));
  }
}
