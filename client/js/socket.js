/**
 * One connection to the server that comes back by itself.
 *
 * Events: `up` (welcome was received), `down` (a CustomEvent whose detail is the close code: the connection is lost, or a
 * try has failed; another follows, unless nobody needs one), `push` (a CustomEvent whose detail is the message),
 * `closed` (for good).
 *
 * @typedef {{type: string, re?: number, data?: any}} Message
 * @typedef {{resolve: (data: any) => void, reject: (error: Error) => void}} Waiting
 * @typedef {import("./messages.js").ClientMessage} ClientMessage
 * @typedef {{[M in ClientMessage as M["type"]]: NonNullable<M["data"]>}} Requests the data of each request, by its type
 * @typedef {import("./messages.js").WelcomeData} WelcomeData
 * @typedef {import("./world.js").World} World
 */

import { pauseAfter, pauseAfterMisconduct } from "./backoff.js";
import { IDLE, LOST, isMisconduct } from "./close-codes.js";
import { ConnectionLost, ServerError } from "./errors.js";
import { makeWorld } from "./world.js";

const SUBPROTOCOL = "braingame.v1";
/** A connection that was up for so long was a good one: the next try may follow soon. */
const STEADY_MS = 10_000;
/** After this silence the server is asked whether it is there. It pings too, but a page cannot see that. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 8_000;

export class LiveSocket extends EventTarget {
  #url;
  #world;
  #isNeeded;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #nextId = 1;
  #failures = 0;
  /** @type {number | null} */
  #upSince = null;
  /** The server has said when to come back, or has thrown us out: nobody may come earlier. @type {number | null} */
  #reconnectAfterMs = null;
  /** @type {any} */
  #silence;
  /** Runs between two connections. @type {any} */
  #pause;
  #isClosed = false;

  /**
   * @param {string} url
   * @param {Partial<World>} [world] instead of the real one
   * @param {() => boolean} [isNeeded] whether somebody wants a connection, after the server has closed one that had no
   *   purpose
   */
  constructor(url, world = {}, isNeeded = () => true) {
    super();
    this.#url = url;
    this.#world = makeWorld(world);
    this.#isNeeded = isNeeded;
    /** When the server was last heard, in ms since 1970; null if never. @type {number | null} */
    this.lastHeardAt = null;
    /** What the server said of itself on the newest connection. @type {WelcomeData | null} */
    this.welcome = null;
  }

  /** Whether requests can be sent: a server that drains does not begin them. */
  get connected() {
    return this.#upSince !== null && this.#socket?.readyState === 1 && this.#reconnectAfterMs === null;
  }

  /** Connect; nothing happens when that has begun. */
  open() {
    if (this.#socket !== null) {
      return;
    }
    this.#pause = undefined;
    const socket = new this.#world.WebSocket(this.#url, SUBPROTOCOL);
    this.#socket = socket;
    socket.addEventListener("message", (event) => this.#receive(socket, event.data));
    socket.addEventListener("close", (event) => this.#lose(socket, event.code));
    this.#awaitSign(socket, SILENCE_MS);
  }

  /** Somebody needs a connection: have one, if the last was closed because nobody did. */
  wake() {
    if (this.#socket === null && this.#pause === undefined && !this.#isClosed) {
      this.open();
    }
  }

  /** For good: there is nothing to wait for any more. */
  close() {
    const socket = this.#socket;
    this.#isClosed = true;
    this.#leave();
    socket?.close();
    this.dispatchEvent(new Event("closed"));
  }

  /**
   * Somebody looks at the page again, or the network is back: do not wait for the end of a pause, and do not trust a
   * connection that may have died in between.
   */
  hurry() {
    if (this.#socket !== null) {
      this.#probe(this.#socket);
    } else if (this.#pause !== undefined && this.#reconnectAfterMs === null) {
      this.#world.clearTimeout(this.#pause);
      this.#failures = 0;
      this.open();
    }
  }

  /**
   * @template {keyof Requests} T
   * @param {T} type
   * @param {Requests[T]} [data]
   * @returns {Promise<any>} the reply's data; rejects with ServerError or ConnectionLost
   */
  request(type, data) {
    const socket = this.#socket;
    if (socket?.readyState !== 1 || this.#reconnectAfterMs !== null) {
      return Promise.reject(new ConnectionLost());
    }
    const id = this.#nextId++;
    const text = JSON.stringify({ type, id, ...(data && { data }) });
    if (this.#isTooLong(text)) {
      return Promise.reject(new ServerError({ code: "too_large", message: "This is too large." }));
    }
    socket.send(text);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /**
   * What is longer than the server reads would cost the connection, and all that waits on it.
   *
   * @param {string} text
   */
  #isTooLong(text) {
    const most = this.welcome?.limits?.maxPlayerMessageBytes ?? Infinity;
    return text.length * 3 > most && new TextEncoder().encode(text).length > most;
  }

  /**
   * @param {WebSocket} socket
   * @param {string} text
   */
  #receive(socket, text) {
    if (socket !== this.#socket) {
      return;
    }
    /** @type {Message} */
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      // Whoever speaks here does not speak our protocol.
      this.#lose(socket, LOST);
      return;
    }
    this.lastHeardAt = this.#world.now();
    this.#awaitSign(socket, SILENCE_MS);
    if (message.re !== undefined) {
      this.#settle(message.re, message);
    } else if (message.type === "welcome") {
      this.welcome = message.data;
      this.#upSince = this.#world.now();
      this.dispatchEvent(new Event("up"));
    } else if (message.type === "server.draining") {
      this.#reconnectAfterMs = message.data.reconnectAfterMs;
    } else {
      this.dispatchEvent(new CustomEvent("push", { detail: message }));
    }
  }

  /**
   * @param {number} id
   * @param {Message} message
   */
  #settle(id, message) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (message.type === "error") {
      waiting?.reject(new ServerError(message.data));
    } else {
      waiting?.resolve(message.data);
    }
  }

  /**
   * Expect something from the server; without it, ask.
   *
   * @param {WebSocket} socket
   * @param {number} milliseconds
   */
  #awaitSign(socket, milliseconds) {
    this.#world.clearTimeout(this.#silence);
    this.#silence = this.#world.setTimeout(() => this.#probe(socket), milliseconds);
  }

  /**
   * A connection that is dead without a close would be silent for ever.
   *
   * @param {WebSocket} socket
   */
  #probe(socket) {
    this.request("ping").catch(() => {});
    this.#world.clearTimeout(this.#silence);
    this.#silence = this.#world.setTimeout(() => this.#lose(socket, LOST), ANSWER_MS);
  }

  /**
   * @param {WebSocket} socket
   * @param {number} code
   */
  #lose(socket, code) {
    if (socket !== this.#socket) {
      return;
    }
    if (this.#upSince !== null && this.#world.now() - this.#upSince >= STEADY_MS) {
      this.#failures = 0;
    }
    this.#leave();
    socket.close();
    if (isMisconduct(code)) {
      this.#reconnectAfterMs = pauseAfterMisconduct(this.#world.random());
    }
    if (code !== IDLE || this.#isNeeded()) {
      this.#pause = this.#world.setTimeout(() => {
        this.#reconnectAfterMs = null;
        this.open();
      }, this.#reconnectAfterMs ?? pauseAfter(this.#failures++, this.#world.random()));
    }
    this.dispatchEvent(new CustomEvent("down", { detail: code }));
  }

  #leave() {
    this.#socket = null;
    this.#upSince = null;
    this.#world.clearTimeout(this.#silence);
    this.#world.clearTimeout(this.#pause);
    this.#pause = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) {
      reject(new ConnectionLost(true));
    }
  }
}

/**
 * The socket of the server that this page came from.
 *
 * @param {{protocol: string, host: string}} location
 */
export function socketUrl({ protocol, host }) {
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}/ws`;
}
