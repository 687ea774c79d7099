import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { BoardFeed } from "../../../client/js/board-feed.js";
import { ConnectionLost, ServerError } from "../../../client/js/errors.js";

/** A LiveSocket whose requests the test answers. */
class FakeSocket extends EventTarget {
  connected = false;
  asked = [];
  dropped = [];
  woken = 0;

  wake() {
    this.woken += 1;
  }

  request(type, data) {
    if (type === "leaderboard.unsubscribe") {
      this.dropped.push(data);
      return Promise.reject(new ConnectionLost());
    }
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
  for (const type of ["state", "stale", "place", "unknown", "unfollowed"]) {
    feed.addEventListener(type, () => happened.push(type));
  }
  feed.open();
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

test("a board that is followed on a connection that is there is asked for at once", () => {
  assert.equal(socket.woken, 1);
  socket.connected = true;
  const other = new BoardFeed(socket, "weekly", 25);
  other.open();
  assert.deepEqual(socket.asked[1].data, { board: "weekly", limit: 25 });
  assert.equal(socket.woken, 1);
});

test("it is live from a state until the connection goes, or an error says that no state comes", async () => {
  assert.equal(feed.live, true);
  socket.dispatchEvent(new Event("down"));
  assert.equal(feed.live, false);
  socket.dispatchEvent(new Event("up"));
  socket.asked[1].resolve(whole(6, [3]));
  await settled();
  assert.equal(feed.live, true);
  socket.push("leaderboard.delta", delta(9, [1]));
  socket.asked[2].reject(new ServerError({ code: "unavailable", message: "Later." }));
  await settled();
  assert.equal(feed.live, false);
  assert.deepEqual(happened, ["state", "stale", "state", "stale"]);
  assert.deepEqual(numbers(), [3]);
});

test("another epoch, as at midnight, comes whole, and is asked for when it comes as a delta", async () => {
  socket.push("leaderboard", { ...whole(1, [8]), epoch: "f" });
  assert.deepEqual(numbers(), [8]);
  socket.push("leaderboard.delta", { ...delta(1, [9]), epoch: "g" });
  assert.deepEqual(socket.asked[1].data.since, { epoch: "f", version: 1 });
});

const place = (position, epoch = "e") => ({ board: "daily", epoch, version: 9, total: 20, position });

test("the player's own place is told, also while the board is asked for", () => {
  socket.dispatchEvent(new Event("up"));
  socket.push("leaderboard.place", place(14));
  socket.push("leaderboard.place", { ...place(1), board: "weekly" });
  assert.equal(feed.place.position, 14);
  socket.push("leaderboard.place", place(null));
  assert.equal(feed.place.position, null);
  assert.deepEqual(happened, ["state", "place", "place"]);
});

test("a place outlives a lost connection, but not the board's epoch", async () => {
  socket.push("leaderboard.place", place(14));
  socket.push("leaderboard", { ...whole(1, [8]), epoch: "f" }); // a new place follows if there is another
  assert.equal(feed.place.position, 14);
  socket.push("leaderboard.place", place(15, "f"));
  for (const [index, epoch, expected] of [[1, "f", 15], [2, "g", undefined]]) {
    socket.dispatchEvent(new Event("down"));
    socket.dispatchEvent(new Event("up"));
    socket.asked[index].resolve({ ...whole(1, [8]), epoch });
    await settled();
    assert.equal(feed.place?.position, expected);
  }
});

test("what is followed no more says nothing any more, and the server is told", async () => {
  feed.unfollow();
  feed.unfollow();
  assert.deepEqual(socket.dropped, [{ board: "daily" }]);
  socket.push("leaderboard.delta", delta(5, [4]));
  socket.dispatchEvent(new Event("up"));
  await settled();
  assert.equal(socket.asked.length, 1);
  assert.deepEqual(happened, ["state", "stale", "unfollowed"]);
  assert.deepEqual(numbers(), [3, 2]);
});

test("pushes that are not known change nothing", () => {
  socket.push("leaderboard.fireworks", { board: "daily" });
  socket.push("leaderboard.delta", undefined);
  socket.push("party");
  assert.deepEqual(happened, ["state"]);
});

test("a board that the server doubts is not live until it does no more", async () => {
  socket.push("leaderboard.stale", { board: "weekly", stale: true });
  assert.equal(feed.live, true);
  socket.push("leaderboard.stale", { board: "daily", stale: true });
  assert.equal(feed.live, false);
  socket.push("leaderboard.delta", delta(5, [4])); // it may still say what it knows
  assert.equal(feed.live, false);
  socket.push("leaderboard.stale", { board: "daily", stale: false });
  assert.equal(feed.live, true);
  socket.push("leaderboard", { ...whole(9, [8]), stale: true });
  assert.equal(feed.live, false);
  socket.push("leaderboard", { ...whole(1, [8]), epoch: "f" });
  assert.equal(feed.live, true);
  assert.deepEqual(happened, ["state", "state", "stale", "state", "stale", "state", "state", "stale", "state"]);
});
