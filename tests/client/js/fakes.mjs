// A browser's WebSocket, as far as the client uses it, with the test as its server.

export class FakeWebSocket extends EventTarget {
  /** Every connection of a test, oldest first. @type {FakeWebSocket[]} */
  static tries = [];

  readyState = 0;
  /** What the client has sent, and nobody has looked at. */
  sent = [];
  closed = false;

  constructor(url, protocol) {
    super();
    this.url = url;
    this.protocol = protocol;
    FakeWebSocket.tries.push(this);
  }

  static get last() {
    return FakeWebSocket.tries.at(-1);
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  open(welcome = {}) {
    this.readyState = 1;
    this.push("welcome", welcome);
  }

  say(message) {
    this.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
  }

  push(type, data) {
    this.say({ type, data });
  }

  die(code = 1006) {
    this.readyState = 3;
    this.dispatchEvent(Object.assign(new Event("close"), { code }));
  }

  /** The oldest request that nobody has looked at; fails if there is none, or it is another. */
  take(type) {
    const request = this.sent.shift();
    if (request?.type !== type) {
      throw new Error(`expected ${type}, and the client sent ${JSON.stringify(request)}`);
    }
    return {
      data: request.data,
      reply: (reply, data) => this.say({ type: reply, re: request.id, data }),
      refuse: (code, more = {}) => this.say({ type: "error", re: request.id, data: { code, message: code, retryable: false, ...more } }),
    };
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function settled() {
  for (let turn = 0; turn < 50; turn += 1) {
    await null;
  }
}
