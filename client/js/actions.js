/**
 * What a player does in a session, in order and each once: an action carries a key, and is sent with it until it has an
 * outcome. The next one is not sent before that.
 *
 * @typedef {import("./messages.js").SessionData} SessionData
 * @typedef {"session.start" | "session.complete" | "session.close" | "session.cancel" | "stage.answer"} ActionType
 * @typedef {import("./socket.js").Requests} Requests
 * @typedef {import("./world.js").World} World
 * @typedef {import("./deadline.js").Patience & {key?: string}} ActionOptions `key`: one that was drawn before, to find the
 *   outcome of an action that is older than this page
 */

import { within } from "./deadline.js";

export class Actions {
  #sender;
  #world;
  /** Settled when the last action has its outcome. @type {Promise<unknown>} */
  #last = Promise.resolve();
  #stop = new AbortController();

  /**
   * @param {import("./sender.js").Sender} sender
   * @param {World} world
   */
  constructor(sender, world) {
    this.#sender = sender;
    this.#world = world;
    /** Actions without an outcome yet. */
    this.pending = 0;
  }

  /**
   * @template {ActionType} T
   * @param {T} type
   * @param {Omit<Requests[T], "key">} data
   * @param {ActionOptions} options
   * @returns {Promise<SessionData>}
   */
  async act(type, data, { key = this.#world.uuid(), signal, timeoutMs }) {
    const stop = this.#stop.signal;
    const patience = { signal: signal === undefined ? stop : AbortSignal.any([signal, stop]), timeoutMs };
    const keyed = /** @type {any} */ ({ ...data, key });
    this.pending += 1;
    try {
      return await within(patience, this.#world, (ended) => {
        const outcome = this.#last.then(() => this.#sender.send(type, keyed, { signal: ended, repeat: true }));
        this.#last = outcome.catch(() => {});
        return outcome;
      });
    } finally {
      this.pending -= 1;
    }
  }

  /**
   * Whose actions these are is not here any more: they must not be done for somebody else.
   *
   * @param {unknown} why what all that wait are rejected with
   */
  stop(why) {
    this.#stop.abort(why);
    this.#stop = new AbortController();
  }
}
