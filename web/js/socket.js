/**
 * One connection to the server that comes back by itself.
 *
 * Events: `up` (welcome was received), `down` (the connection is lost, or a try has failed; another follows), `push`
 * (a CustomEvent whose detail is the message).
 *
 * @typedef {{type: string, re?: number, data?: any}} Message
 * @typedef {{resolve: (data: any) => void, reject: (error: Error) => void}} Waiting
 */

const FIRST_DELAY_MS = 1000;
const LONGEST_DELAY_MS = 15_000;
/** A connection that was up for so long was a good one: the next try may follow soon. */
const STEADY_MS = 10_000;
/** After this silence the server is asked whether it is there. It pings too, but a page cannot see that. */
const SILENCE_MS = 25_000;
const ANSWER_MS = 8_000;

/** The server's answer was an error. */
export class ServerError extends Error {
  /** @param {{code: string, message: string, retryAfterMs?: number}} data */
  constructor({ code, message, retryAfterMs }) {
    super(message);
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The connection went before the answer came. */
export class ConnectionLost extends Error {}

export class LiveSocket extends EventTarget {
  #url;
  #connect;
  #random;
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Map<number, Waiting>} */
  #waiting = new Map();
  #nextId = 1;
  #failures = 0;
  /** @type {number | null} */
  #upSince = null;
  /** The server has said when to come back: nobody may come earlier. @type {number | null} */
  #reconnectAfterMs = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #silence;
  /** Runs between two connections. @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /**
   * @param {string} url
   * @param {{connect?: (url: string) => WebSocket, random?: () => number}} [world] tests bring their own
   */
  constructor(url, { connect = (url) => new WebSocket(url, "braingame.v1"), random = Math.random } = {}) {
    super();
    this.#url = url;
    this.#connect = connect;
    this.#random = random;
    /** When the server was last heard, in ms since 1970; null if never. @type {number | null} */
    this.lastHeardAt = null;
  }

  open() {
    this.#pause = undefined;
    const socket = this.#connect(this.#url);
    this.#socket = socket;
    socket.addEventListener("message", (event) => this.#receive(socket, event.data));
    socket.addEventListener("close", () => this.#lose(socket));
    this.#awaitSign(socket, SILENCE_MS);
  }

  /** For good: there is nothing to wait for any more. */
  close() {
    const socket = this.#socket;
    this.#leave();
    socket?.close();
  }

  /**
   * Somebody looks at the page again, or the network is back: do not wait for the end of a pause, and do not trust a
   * connection that may have died in between.
   */
  hurry() {
    if (this.#socket !== null) {
      this.#probe(this.#socket);
    } else if (this.#pause !== undefined && this.#reconnectAfterMs === null) {
      clearTimeout(this.#pause);
      this.#failures = 0;
      this.open();
    }
  }

  /**
   * @param {string} type
   * @param {object} [data]
   * @returns {Promise<any>} the reply's data; rejects with ServerError or ConnectionLost
   */
  request(type, data) {
    const socket = this.#socket;
    if (socket?.readyState !== 1) {
      return Promise.reject(new ConnectionLost());
    }
    const id = this.#nextId++;
    socket.send(JSON.stringify({ type, id, ...(data && { data }) }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /**
   * @param {WebSocket} socket
   * @param {string} text
   */
  #receive(socket, text) {
    if (socket !== this.#socket) {
      return;
    }
    this.lastHeardAt = Date.now();
    this.#awaitSign(socket, SILENCE_MS);
    /** @type {Message} */
    const message = JSON.parse(text);
    if (message.re !== undefined) {
      this.#settle(message.re, message);
    } else if (message.type === "welcome") {
      this.#upSince = Date.now();
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
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#probe(socket), milliseconds);
  }

  /**
   * A connection that is dead without a close would be silent for ever.
   *
   * @param {WebSocket} socket
   */
  #probe(socket) {
    this.request("ping").catch(() => {});
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#lose(socket), ANSWER_MS);
  }

  /** @param {WebSocket} socket */
  #lose(socket) {
    if (socket !== this.#socket) {
      return;
    }
    if (this.#upSince !== null && Date.now() - this.#upSince >= STEADY_MS) {
      this.#failures = 0;
    }
    this.#leave();
    socket.close();
    this.#pause = setTimeout(() => {
      this.#reconnectAfterMs = null;
      this.open();
    }, this.#reconnectAfterMs ?? this.#backOff());
    this.dispatchEvent(new Event("down"));
  }

  #leave() {
    this.#socket = null;
    this.#upSince = null;
    clearTimeout(this.#silence);
    clearTimeout(this.#pause);
    this.#pause = undefined;
    for (const { reject } of this.#waiting.values()) {
      reject(new ConnectionLost());
    }
    this.#waiting.clear();
  }

  /** Full jitter, so that the clients of a server that was restarted do not all come at once. */
  #backOff() {
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    return this.#random() * ceiling;
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
