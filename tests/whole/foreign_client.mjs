// A client that shares no code with the server: Node, the `ws` package, and docs/protocol.md.
// Two players, one registered over HTTP and one on the socket, play to the end, first with different scores and then with
// equal ones, while a third socket without a token follows the board by its deltas. Usage: foreign_client.mjs PORT

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import WebSocket from "ws";

const port = process.argv[2];
const url = `ws://127.0.0.1:${port}/ws`;
const PATIENCE_MS = 10_000;

class Client {
  static async open(options) {
    const client = new Client();
    client.socket = new WebSocket(url, ["braingame.v1"], options);
    client.waiting = new Map();
    client.pushes = [];
    client.onPush = () => {};
    client.id = 0;
    client.socket.on("message", (text) => client.receive(JSON.parse(text)));
    await new Promise((resolve, reject) => client.socket.once("open", resolve).once("error", reject));
    assert.equal(client.socket.protocol, "braingame.v1");
    return client;
  }

  receive(message) {
    if ("re" in message) {
      this.waiting.get(message.re)(message);
      this.waiting.delete(message.re);
    } else {
      this.pushes.push(message);
      this.onPush(message);
    }
  }

  async ask(type, data) {
    const id = `${type} ${++this.id}`;
    const reply = new Promise((resolve) => this.waiting.set(id, resolve));
    this.socket.send(JSON.stringify({ type, id, ...(data && { data }) }));
    const message = await within(reply, `a reply to ${type}`);
    assert.notEqual(message.type, "error", JSON.stringify(message));
    return message.data;
  }

  async play(...scores) {
    await this.ask("session.start", { difficulty: 2 });
    let session;
    for (const score of scores) {
      session = await this.ask("session.complete", { score, key: randomBytes(8).toString("hex") });
    }
    assert.equal(session.sessionStatus, 1);
    assert.equal(session.sessionTotalScore, scores.reduce((sum, score) => sum + score));
  }
}

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`still no ${what}`)), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// The board as the contract says that a follower keeps it.
const LIMIT = 10;
const followed = { entries: new Map(), epoch: null, version: null, total: null };

function order(left, right) {
  return (
    right.passedAllGames - left.passedAllGames ||
    right.totalScore - left.totalScore ||
    Date.parse(left.achievedAt) - Date.parse(right.achievedAt) ||
    left.number - right.number
  );
}

function take({ type, data }) {
  if (type === "leaderboard") {
    Object.assign(followed, { epoch: data.epoch, version: data.version, total: data.total });
    followed.entries = new Map(data.entries.map(({ position, ...entry }) => [entry.number, entry]));
  } else if (type === "leaderboard.delta") {
    assert.equal(data.epoch, followed.epoch);
    assert.equal(data.from, followed.version, "a delta builds on the version before");
    data.removals.forEach((number) => followed.entries.delete(number));
    data.upserts.forEach((entry) => followed.entries.set(entry.number, entry));
    const kept = [...followed.entries.values()].sort(order).slice(0, LIMIT);
    followed.entries = new Map(kept.map((entry) => [entry.number, entry]));
    Object.assign(followed, { version: data.version, total: data.total });
  }
}

async function http(path, body) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${response.status}`);
  return response.json();
}

const credentials = (username) => ({
  email: `${randomBytes(6).toString("hex")}@example.test`,
  username,
  password: "correct horse",
});

const spectator = await Client.open();
spectator.onPush = take;
take({ type: "leaderboard", data: await spectator.ask("leaderboard.subscribe", { limit: LIMIT }) });
assert.equal(followed.total, 0);

const annsCredentials = credentials("Ann");
const registered = await http("/register", annsCredentials);
const { token } = await http("/login", { email: annsCredentials.email, password: annsCredentials.password });
const ann = await Client.open({ headers: { Authorization: `Bearer ${token}` } });
assert.equal((await ann.ask("user.me")).number, registered.number);

const bohdan = await Client.open();
const joined = await bohdan.ask("auth.register", credentials("Bohdan"));
assert.equal(joined.user.number, registered.number + 1, "registration numbers have no gaps");

async function boardIs(...expected) {
  // Both read what they read when they read it; at the same version they have to be the same.
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const board = await spectator.ask("leaderboard.get", { limit: LIMIT });
    if (board.version === followed.version && board.total === expected.length) {
      const entries = board.entries.map(({ position, ...entry }) => entry);
      assert.deepEqual([...followed.entries.values()], entries);
      assert.deepEqual(board.entries.map(({ position }) => position), expected.map((_, index) => index + 1));
      const shown = board.entries.map(({ username, totalScore }) => [username, totalScore]);
      if (JSON.stringify(shown) === JSON.stringify(expected)) {
        return;
      }
    }
    assert.ok(Date.now() < deadline, `the board is not ${JSON.stringify(expected)}: ${JSON.stringify(board)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Different scores.
await ann.play(100, 200, 300);
await boardIs(["Ann", 600]);
await bohdan.play(100, 200, 301);
await boardIs(["Bohdan", 601], ["Ann", 600]);
// A worse session takes nothing away.
await bohdan.play(1, 1, 1);
await boardIs(["Bohdan", 601], ["Ann", 600]);
// Equal scores: who reached them earlier stands higher, whatever the registration numbers say.
await bohdan.play(500, 500, 500);
await ann.play(500, 499, 501);
await boardIs(["Bohdan", 1500], ["Ann", 1500]);

const deltas = spectator.pushes.filter(({ type }) => type === "leaderboard.delta");
// Ann's last session may have come so soon after Bohdan's that one delta tells of both.
assert.ok(deltas.length === 3 || deltas.length === 4, `${deltas.length} deltas for 4 changes`);
assert.ok(spectator.pushes.every((push) => !JSON.stringify(push).includes("@")), "no email reaches a spectator");

[spectator, ann, bohdan].forEach(({ socket }) => socket.close());
console.log("the board and its deltas agree");
