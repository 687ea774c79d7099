/**
 * One connection to the server that comes back by itself.
 *
 * Events: `up` (welcome was received), `down` (the connection is lost; another try follows), `push` (detail: the message).
 */

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** After this silence the server is asked whether it is there. It pings too, but a page cannot see that. */
const SILENCE_MS = 20_000;
const ANSWER_MS = 8_000;

export class ServerError extends Error {
  constructor(data) {
    super(data.message);
    this.code = data.code;
  }
}

export class ConnectionLost extends Error {}

export class LiveSocket extends EventTarget {
  #url;
  #socket = null;
  #waiting = new Map();
  #nextId = 1;
  #attempts = 0;
  #reconnectAfter = null;
  #watch = 0;
  #timer = 0;

  constructor(url) {
    super();
    this.#url = url;
    // A phone that wakes up should not wait for the end of a long pause.
    globalThis.addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
  }

  open() {
    const socket = new WebSocket(this.#url, "braingame.v1");
    this.#socket = socket;
    socket.addEventListener("message", (event) => this.#receive(socket, event.data));
    socket.addEventListener("close", () => this.#lose(socket));
    this.#listen(socket);
  }

  /** Send a request; resolves with the reply's data, rejects with ServerError or ConnectionLost. */
  request(type, data) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) {
      return Promise.reject(new ConnectionLost());
    }
    const id = this.#nextId++;
    socket.send(JSON.stringify({ type, id, ...(data && { data }) }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  #receive(socket, text) {
    if (socket !== this.#socket) {
      return;
    }
    this.#listen(socket);
    const message = JSON.parse(text);
    if (message.re !== undefined) {
      const waiting = this.#waiting.get(message.re);
      this.#waiting.delete(message.re);
      if (message.type === "error") {
        waiting?.reject(new ServerError(message.data));
      } else {
        waiting?.resolve(message.data);
      }
    } else if (message.type === "welcome") {
      this.#attempts = 0;
      this.dispatchEvent(new Event("up"));
    } else if (message.type === "server.draining") {
      this.#reconnectAfter = message.data.reconnectAfterMs;
    } else {
      this.dispatchEvent(new CustomEvent("push", { detail: message }));
    }
  }

  #listen(socket) {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => {
      this.request("ping").catch(() => {});
      // A connection that is dead without a close would be silent for ever.
      this.#watch = setTimeout(() => this.#lose(socket), ANSWER_MS);
    }, SILENCE_MS);
  }

  #lose(socket) {
    if (socket !== this.#socket) {
      return;
    }
    this.#socket = null;
    clearTimeout(this.#watch);
    socket.close();
    for (const { reject } of this.#waiting.values()) {
      reject(new ConnectionLost());
    }
    this.#waiting.clear();
    this.dispatchEvent(new Event("down"));
    // Full jitter, so that the clients of a server that was restarted do not all come at once.
    const ceiling = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#attempts++);
    const delay = this.#reconnectAfter ?? Math.random() * ceiling;
    this.#reconnectAfter = null;
    this.#timer = setTimeout(() => this.open(), delay);
  }

  #hurry() {
    if (this.#socket === null) {
      clearTimeout(this.#timer);
      this.#attempts = 0;
      this.open();
    }
  }
}

/** The socket of the server that this page came from. */
export function socketUrl(location) {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;
}
