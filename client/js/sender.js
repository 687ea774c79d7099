/**
 * Sends requests when there is a connection and it is clear whose it is, and again when that is right.
 *
 * @typedef {import("./socket.js").Requests} Requests
 * @typedef {import("./world.js").World} World
 */

import { pauseAfter } from "./backoff.js";
import { pause } from "./deadline.js";
import { ConnectionLost, ServerError } from "./errors.js";

/** The server takes this socket for a spectator's, or its token for an old one: nothing was done. */
const NOT_LOGGED_IN = new Set(["unauthenticated", "token_expired", "token_revoked"]);

export class Sender {
  #socket;
  #login;
  #world;
  /** @type {Set<() => void>} */
  #waiting = new Set();

  /**
   * @param {import("./socket.js").LiveSocket} socket
   * @param {import("./login.js").Login} login made before this: on a new connection it comes first
   * @param {World} world
   */
  constructor(socket, login, world) {
    this.#socket = socket;
    this.#login = login;
    this.#world = world;
    socket.addEventListener("up", () => this.#look());
    login.addEventListener("settled", () => this.#look());
  }

  /** Whether somebody waits for a connection. */
  get isWaiting() {
    return this.#waiting.size > 0;
  }

  /**
   * Send until there is an outcome. Rejects with ServerError; without `repeat` also with ConnectionLost, when the
   * connection went before the answer came.
   *
   * @template {keyof Requests} T
   * @param {T} type
   * @param {Requests[T]} data
   * @param {{signal: AbortSignal, repeat: boolean}} how `signal`: nobody waits any more; `repeat`: done twice is as good as
   *   done once
   * @returns {Promise<any>} the reply's data
   */
  async send(type, data, { signal, repeat }) {
    let failures = 0;
    let hasProved = false;
    for (;;) {
      await this.#ready(signal);
      signal.throwIfAborted();
      try {
        return await this.#socket.request(type, data);
      } catch (error) {
        signal.throwIfAborted();
        if (error instanceof ConnectionLost) {
          if (error.sent && !repeat) {
            throw error;
          }
        } else if (!(error instanceof ServerError)) {
          throw error;
        } else if (NOT_LOGGED_IN.has(error.code) && this.#login.tokens !== null && !hasProved) {
          hasProved = true;
          this.#login.prove();
        } else if (error.retryable && repeat) {
          await pause(error.retryAfterMs ?? pauseAfter(failures, this.#world.random()), this.#world, signal);
          failures += 1;
        } else {
          throw error;
        }
      }
    }
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<void>} resolves when a request can be sent, or nobody wants to any more
   */
  async #ready(signal) {
    while (!signal.aborted && !(this.#socket.connected && this.#login.settled)) {
      await /** @type {Promise<void>} */ (
        new Promise((resolve) => {
          const done = () => {
            this.#waiting.delete(done);
            signal.removeEventListener("abort", done);
            resolve();
          };
          this.#waiting.add(done);
          signal.addEventListener("abort", done);
          this.#socket.wake();
        })
      );
    }
  }

  #look() {
    if (this.#socket.connected && this.#login.settled) {
      for (const done of [...this.#waiting]) {
        done();
      }
    }
  }
}
