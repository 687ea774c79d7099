import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { BoardFeed } from "../../web/js/board-feed.js";
import { ConnectionLost, ServerError } from "../../web/js/socket.js";

/** A LiveSocket whose requests the test answers. */
class FakeSocket extends EventTarget {
  asked = [];

  request(type, data) {
    assert.equal(type, "leaderboard.subscribe");
    return new Promise((resolve, reject) => this.asked.push({ data, resolve, reject }));
  }

  push(type, data) {
    this.dispatchEvent(new CustomEvent("push", { detail: { type, data } }));
  }
}

const entry = (number) => ({ number, username: `n${number}`, totalScore: number, passedAllGames: true, achievedAt: "2026" });
const whole = (version, numbers) => ({
  board: "daily",
  epoch: "e",
  version,
  total: numbers.length,
  entries: numbers.map(entry),
});
const delta = (from, numbers) => ({
  ...whole(from + 1, []),
  entries: undefined,
  from,
  upserts: numbers.map(entry),
  removals: [],
});
const settled = async () => {
  for (let turn = 0; turn < 5; turn += 1) {
    await null;
  }
};

let socket;
let feed;
let happened;
const numbers = () => feed.state.entries.map(({ number }) => number);

beforeEach(async () => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
  socket = new FakeSocket();
  feed = new BoardFeed(socket, "daily", 10);
  happened = [];
  for (const type of ["state", "stale", "unknown"]) {
    feed.addEventListener(type, () => happened.push(type));
  }
  socket.dispatchEvent(new Event("up"));
  socket.asked[0].resolve(whole(5, [3, 2]));
  await settled();
});

test("deltas in a row are applied, and other boards' are not", () => {
  socket.push("leaderboard.delta", delta(5, [4]));
  socket.push("leaderboard.delta", { ...delta(6, [9]), board: "weekly" });
  socket.push("leaderboard.delta", delta(6, [5]));
  assert.deepEqual(numbers(), [5, 4, 3, 2]);
  assert.equal(socket.asked.length, 1);
});

test("after a gap, deltas wait for the whole state", async () => {
  socket.push("leaderboard.delta", delta(8, [9]));
  socket.push("leaderboard.delta", delta(9, [8]));
  assert.deepEqual(socket.asked[1].data, { board: "daily", limit: 10, since: { epoch: "e", version: 5 } });
  assert.equal(socket.asked.length, 2);
  socket.asked[1].resolve(whole(11, [9, 8, 7]));
  await settled();
  socket.push("leaderboard.delta", delta(11, [10]));
  assert.deepEqual(numbers(), [10, 9, 8, 7]);
});

test("an answer without entries keeps what is held", async () => {
  socket.dispatchEvent(new Event("down"));
  socket.dispatchEvent(new Event("up"));
  socket.asked[1].resolve({ ...whole(5, []), total: 2, entries: null });
  await settled();
  assert.deepEqual(numbers(), [3, 2]);
  assert.deepEqual(happened, ["state", "stale", "state"]);
});

test("an answer without entries for another state leads to a question without since, and not to a storm of them", async () => {
  const confirmation = { ...whole(9, []), entries: null };
  socket.dispatchEvent(new Event("up"));
  socket.asked[1].resolve(confirmation);
  await settled();
  assert.deepEqual(socket.asked[2].data, { board: "daily", limit: 10 });
  socket.asked[2].resolve(confirmation);
  await settled();
  assert.equal(socket.asked.length, 3);
  mock.timers.tick(1000);
  assert.equal(socket.asked.length, 4);
});

test("the answer to an older question is not taken", async () => {
  socket.dispatchEvent(new Event("down"));
  socket.dispatchEvent(new Event("up"));
  socket.dispatchEvent(new Event("down"));
  socket.dispatchEvent(new Event("up"));
  socket.asked[2].resolve(whole(8, [8]));
  await settled();
  socket.asked[1].resolve(whole(7, [7]));
  await settled();
  assert.deepEqual(numbers(), [8]);
});

test("an error is waited out for as long as it says, unless the connection goes meanwhile", async () => {
  const unavailable = new ServerError({ code: "unavailable", message: "Later.", retryAfterMs: 300 });
  socket.dispatchEvent(new Event("up"));
  socket.asked[1].reject(unavailable);
  await settled();
  mock.timers.tick(299);
  assert.equal(socket.asked.length, 2);
  mock.timers.tick(1);
  assert.equal(socket.asked.length, 3);
  socket.asked[2].reject(unavailable);
  await settled();
  socket.dispatchEvent(new Event("down"));
  mock.timers.tick(60_000);
  assert.equal(socket.asked.length, 3);
});

test("a board that does not exist is said, a lost connection is not", async () => {
  socket.dispatchEvent(new Event("up"));
  socket.asked[1].reject(new ConnectionLost());
  await settled();
  assert.deepEqual(happened, ["state"]);
  socket.dispatchEvent(new Event("up"));
  socket.asked[2].reject(new ServerError({ code: "unknown_board", message: "None." }));
  await settled();
  assert.deepEqual(happened, ["state", "unknown"]);
});
