import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { ConnectionLost, ServerError } from "../../../client/js/errors.js";
import { LiveSocket, socketUrl } from "../../../client/js/socket.js";
import { FakeWebSocket } from "./fakes.mjs";

let tries;
let happened;
let live;
let jitter;
let needed;

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  tries = FakeWebSocket.tries = [];
  happened = [];
  jitter = 1;
  needed = true;
  live = new LiveSocket("ws://here/ws", { WebSocket: FakeWebSocket, random: () => jitter }, () => needed);
  for (const type of ["up", "down", "push"]) {
    live.addEventListener(type, ({ detail }) => happened.push(detail?.type ?? type));
  }
  live.open();
});

/** Timers that are set while it runs count from its end, so a chain of them takes one call for each. */
const tick = (milliseconds) => mock.timers.tick(milliseconds);

test("a request gets its own answer, whatever comes between", async () => {
  tries[0].open();
  const [first, second] = [live.request("leaderboard.get"), live.request("ping", {})];
  assert.deepEqual(tries[0].sent, [
    { type: "leaderboard.get", id: 1 },
    { type: "ping", id: 2, data: {} },
  ]);
  tries[0].say({ type: "leaderboard.delta", data: {} });
  tries[0].say({ type: "error", re: 1, data: { code: "rate_limited", message: "Slowly.", retryAfterMs: 9 } });
  tries[0].say({ type: "pong", re: 2, data: { serverTime: "now" } });
  await assert.rejects(first, (error) => error instanceof ServerError && error.retryAfterMs === 9);
  assert.deepEqual(await second, { serverTime: "now" });
  assert.deepEqual(happened, ["up", "leaderboard.delta"]);
});

test("what was asked on a connection that is lost, or on none, is refused", async () => {
  await assert.rejects(live.request("ping"), ConnectionLost);
  tries[0].open();
  const asked = live.request("ping");
  tries[0].die();
  await assert.rejects(asked, ConnectionLost);
});

test("pauses between tries grow up to 15 s, and are drawn from nought", () => {
  for (const pause of [1000, 2000, 4000, 8000, 15_000, 15_000]) {
    tries.at(-1).die();
    const before = tries.length;
    tick(pause - 1);
    assert.equal(tries.length, before);
    tick(1);
    assert.equal(tries.length, before + 1);
  }
  jitter = 0.1;
  tries.at(-1).die();
  tick(1500);
  assert.equal(tries.length, 8);
});

test("a connection that was good for a while makes the next pause short, one that was cut at once does not", () => {
  for (let round = 0; round < 4; round += 1) {
    tries.at(-1).open();
    tries.at(-1).die();
    tick(15_000);
  }
  tries.at(-1).open();
  tick(10_000);
  tries.at(-1).die();
  const before = tries.length;
  tick(1000);
  assert.equal(tries.length, before + 1);
});

test("a draining server is not visited before the time that it gave, and normally after that", () => {
  tries[0].open();
  tries[0].say({ type: "server.draining", data: { reconnectAfterMs: 40_000 } });
  tries[0].die();
  live.hurry();
  tick(39_999);
  assert.equal(tries.length, 1);
  tick(1);
  assert.equal(tries.length, 2);
  tries[1].die();
  tick(1000);
  assert.equal(tries.length, 3);
});

test("after 25 s of silence the server is asked, and given up when it says nothing", () => {
  tries[0].open();
  tick(24_000);
  tries[0].say({ type: "leaderboard.delta", data: {} });
  tick(24_999);
  assert.deepEqual(tries[0].sent, []);
  tick(1);
  assert.deepEqual(tries[0].sent, [{ type: "ping", id: 1 }]);
  tries[0].say({ type: "pong", re: 1, data: {} });
  tick(25_000);
  assert.equal(tries[0].sent.length, 2);
  assert.equal(live.lastHeardAt, 1_000_000 + 49_000);
  tick(7_999);
  assert.equal(tries[0].closed, false);
  tick(1);
  assert.equal(tries[0].closed, true);
  assert.deepEqual(happened.filter((type) => type === "down"), ["down"]);
});

test("a handshake that hangs is given up, too", () => {
  tick(25_000);
  tick(8_000);
  assert.equal(tries[0].closed, true);
  tick(1000);
  assert.equal(tries.length, 2);
});

test("what an old connection still says is not heard", () => {
  tries[0].open();
  tick(25_000);
  tick(8_000);
  tick(1000);
  tries[0].say({ type: "leaderboard", data: {} });
  tries[0].die();
  assert.equal(tries.length, 2);
  assert.deepEqual(happened, ["up", "down"]);
});

test("who hurries does not wait for the end of a pause, and asks a connection at once", () => {
  tries[0].die();
  live.hurry();
  assert.equal(tries.length, 2);
  tries[1].open();
  live.hurry();
  assert.deepEqual(tries[1].sent, [{ type: "ping", id: 1 }]);
  tick(8_000);
  assert.equal(tries[1].closed, true);
});

test("one connection is enough, whoever opens and wakes", () => {
  live.open();
  live.wake();
  assert.equal(tries.length, 1);
});

test("who was thrown out for what it sent does not come back soon, whoever hurries", () => {
  for (const code of [1003, 1007, 1009, 4400, 4429]) {
    tries.at(-1).open();
    tries.at(-1).die(code);
    const before = tries.length;
    tick(14_999);
    live.hurry();
    assert.equal(tries.length, before);
    tick(15_001);
    assert.equal(tries.length, before + 1);
  }
});

test("a connection that was closed since nobody needed it comes back when somebody does", () => {
  needed = false;
  tries[0].open();
  tries[0].die(4408);
  tick(600_000);
  live.hurry();
  assert.equal(tries.length, 1);
  live.wake();
  live.wake();
  assert.equal(tries.length, 2);
  needed = true;
  tries[1].open();
  tries[1].die(4408);
  tick(1000);
  assert.equal(tries.length, 3);
});

test("a server that drains is asked nothing more, and what it was asked may still be answered", async () => {
  tries[0].open();
  const asked = live.request("ping");
  tries[0].push("server.draining", { reconnectAfterMs: 500 });
  assert.equal(live.connected, false);
  await assert.rejects(live.request("ping"), (error) => error instanceof ConnectionLost && !error.sent);
  tries[0].say({ type: "pong", re: 1, data: {} });
  await asked;
  assert.equal(tries[0].sent.length, 1);
});

test("what speaks another language is left", () => {
  tries[0].open();
  tries[0].dispatchEvent(new MessageEvent("message", { data: "<html>" }));
  assert.equal(tries[0].closed, true);
  tick(1000);
  assert.equal(tries.length, 2);
});

test("what is too long for the server is not sent", async () => {
  tries[0].open({ limits: { maxPlayerMessageBytes: 100 } });
  await assert.rejects(live.request("user.password", { password: "ä".repeat(50) }), { code: "too_large" });
  live.request("user.password", { password: "a".repeat(40) });
  assert.equal(tries[0].sent.length, 1);
});

test("the client offers its version of the protocol", () => {
  assert.deepEqual([tries[0].url, tries[0].protocol], ["ws://here/ws", "braingame.v1"]);
});

test("closed for good is closed for good", () => {
  tries[0].open();
  live.close();
  tries[0].die();
  live.hurry();
  tick(600_000);
  assert.equal(tries.length, 1);
  assert.deepEqual(happened, ["up"]);
});

test("the socket is on the page's own origin, with the page's security", () => {
  assert.equal(socketUrl({ protocol: "http:", host: "localhost:8080" }), "ws://localhost:8080/ws");
  assert.equal(socketUrl({ protocol: "https:", host: "game.example" }), "wss://game.example/ws");
});
