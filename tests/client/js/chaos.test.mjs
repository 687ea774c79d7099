// A server that goes at the worst moments: whatever happens, each action is applied once, and in the order of the calls.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Game } from "../../../client/js/braingame.js";
import { FakeWebSocket, settled } from "./fakes.mjs";

/** mulberry32, a small generator with a seed, so that a failure can be repeated. */
const seeded = (seed) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

const USER = { id: "u", username: "Ann", email: "a@example.test", number: 1 };

class FickleServer {
  applied = [];
  /** The outcome of each key. */
  outcomes = new Map();
  count = 0;
  faults = new Set();
  #random;
  #authenticated = new WeakSet();
  #tokens = 0;

  constructor(random) {
    this.#random = random;
  }

  /** Open what waits to be opened, and answer one request. */
  turn() {
    const socket = FakeWebSocket.last;
    if (socket.readyState === 0) {
      this.#either(0.2, "refused") ? socket.die() : socket.open();
    } else if (socket.readyState === 1 && this.#tokens > 0 && this.#either(0.05, "drained")) {
      socket.push("server.draining", { reconnectAfterMs: 100 });
      socket.die(1001);
    } else if (socket.readyState === 1 && socket.sent.length > 0) {
      this.#answer(socket, socket.sent[0].type, socket.take(socket.sent[0].type));
    }
  }

  #answer(socket, type, { data, reply, refuse }) {
    if (type === "auth.login" || type === "auth.refresh") {
      this.#tokens += 1;
      this.#authenticated.add(socket);
      reply("authenticated", { ...this.#granted(), refreshToken: `r${this.#tokens}` });
    } else if (this.#either(0.15, "lost before")) {
      socket.die(this.#either(0.5, "expired") ? 4401 : 1006);
    } else if (this.#either(0.15, "unavailable")) {
      refuse("unavailable", { retryable: true, retryAfterMs: 50 });
    } else if (type === "auth.resume") {
      if (this.#either(0.3, "token expired")) {
        refuse("token_expired");
      } else {
        this.#authenticated.add(socket);
        reply("authenticated", this.#granted());
      }
    } else if (!this.#authenticated.has(socket)) {
      assert.fail(`${type} from nobody`);
    } else if (this.#either(0.05, "made a spectator")) {
      this.#authenticated.delete(socket);
      refuse("unauthenticated");
    } else {
      const outcome = this.#apply(data);
      this.#either(0.2, "lost after") ? socket.die() : reply("session", outcome);
    }
  }

  #apply({ key, score }) {
    const known = this.outcomes.get(key);
    if (known !== undefined) {
      this.faults.add("replayed");
      return { ...known, replayed: true };
    }
    this.applied.push(score);
    const outcome = { sessionId: "s", sessionVersion: this.applied.length, sessionTotalScore: score };
    this.outcomes.set(key, outcome);
    return outcome;
  }

  #granted() {
    return { token: `t${this.#tokens}`, tokenExpiresAt: "later", user: USER, session: null };
  }

  #either(chance, fault) {
    const happens = this.#random() < chance;
    if (happens) {
      this.faults.add(fault);
    }
    return happens;
  }
}

const EVERY_FAULT = 9;
const ACTIONS = 60;

for (const seed of [1, 20261123, 0xdecade, 7]) {
  test(`each action is applied once and in order (seed ${seed})`, async () => {
    mock.timers.reset();
    mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
    FakeWebSocket.tries = [];
    const random = seeded(seed);
    const server = new FickleServer(random);
    const game = new Game("ws://here/ws", { WebSocket: FakeWebSocket, random });
    let loggedOut = 0;
    game.addEventListener("loggedout", () => (loggedOut += 1));
    game.open();
    const entered = game.login({ email: "a@example.test", password: "correct horse" }, { timeoutMs: Infinity });
    const outcomes = [];
    const resolved = [];
    let turns = 0;
    while (resolved.length < ACTIONS) {
      assert.ok((turns += 1) < 20_000, `stuck after ${resolved.length}`);
      if (outcomes.length < ACTIONS && random() < 0.3) {
        const score = outcomes.length;
        outcomes.push(game.complete(score).then((session) => resolved.push([score, session.sessionTotalScore])));
      }
      server.turn();
      await settled();
      mock.timers.tick(Math.floor(random() * 400));
      await settled();
    }
    await entered;
    const expected = Array.from({ length: ACTIONS }, (_, score) => score);
    assert.deepEqual(server.applied, expected);
    assert.deepEqual(resolved, expected.map((score) => [score, score]));
    assert.equal(game.session.sessionVersion, ACTIONS);
    assert.equal(game.pending, 0);
    assert.equal(loggedOut, 0);
    assert.equal(server.faults.size, EVERY_FAULT, `only ${[...server.faults].join(", ")}`);
    game.disconnect();
  });
}
