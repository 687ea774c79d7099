import assert from "node:assert/strict";
import { test } from "node:test";

import { applyDelta, compareEntries, fromLeaderboard } from "../../web/js/board-state.js";

const entry = (number, totalScore, passedAllGames = false, achievedAt = "2026-11-23T10:00:00.000Z") => ({
  number,
  username: `player ${number}`,
  totalScore,
  passedAllGames,
  achievedAt,
});
const state = (entries, version = 1) => ({ board: "daily", epoch: "e", version, total: entries.length, entries });
const delta = (from, upserts, removals = [], more = {}) => ({
  board: "daily",
  epoch: "e",
  from,
  version: from + 1,
  total: 9,
  upserts,
  removals,
  ...more,
});

test("passing all games beats any score, then score, then time, then number decide", () => {
  const ranked = [
    entry(9, 10, true),
    entry(3, 900, false, "2026-11-23T09:00:00.000Z"),
    entry(2, 900),
    entry(4, 900),
    entry(1, 5),
  ];
  assert.deepEqual([...ranked].reverse().sort(compareEntries), ranked);
});

test("a delta drops removals, puts upserts in by number, sorts and keeps the first rows", () => {
  const before = state([entry(1, 50), entry(2, 40), entry(3, 30)]);
  const after = applyDelta(before, delta(1, [entry(3, 60), entry(4, 45)], [2]), 3);
  assert.deepEqual(after.entries.map(({ number }) => number), [3, 1, 4]);
  assert.equal(after.version, 2);
  assert.equal(after.total, 9);
  assert.deepEqual(before.entries.map(({ number }) => number), [1, 2, 3]);
});

test("a delta that builds on another state asks for a new subscription", () => {
  const held = state([entry(1, 50)], 4);
  assert.equal(applyDelta(held, delta(3, []), 10), null);
  assert.equal(applyDelta(held, delta(4, [], [], { epoch: "f" }), 10), null);
  assert.equal(applyDelta(held, delta(4, [], [], { board: "weekly" }), 10), null);
  assert.notEqual(applyDelta(held, delta(4, []), 10), null);
});

test("an answer without entries confirms what is held, and nothing else", () => {
  const held = state([entry(1, 50)], 4);
  const message = { board: "daily", epoch: "e", version: 4, total: 7, entries: null };
  assert.deepEqual(fromLeaderboard(message, held), { ...held, total: 7 });
  assert.equal(fromLeaderboard({ ...message, version: 5 }, held), null);
  assert.equal(fromLeaderboard(message, null), null);
});

test("fields that are not known are ignored", () => {
  const message = { ...state([]), entries: [{ ...entry(1, 50), position: 1, flag: "x" }], more: true };
  assert.deepEqual(fromLeaderboard(message, null).entries, [entry(1, 50)]);
});

test("random changes, applied as deltas, lead to the top of the whole board", () => {
  let seed = 20261123;
  const random = (below) => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  for (const limit of [10, 25]) {
    const all = new Map();
    const top = () => [...all.values()].sort(compareEntries).slice(0, limit);
    let followed = state([]);
    for (let round = 0; round < 400; round += 1) {
      const before = top();
      for (let change = random(4); change >= 0; change -= 1) {
        const number = 1 + random(40);
        if (random(12) === 0) {
          all.delete(number);
        } else {
          const at = new Date(Date.UTC(2026, 10, 23) + random(5)).toISOString();
          all.set(number, entry(number, random(20), random(3) === 0, at));
        }
      }
      const after = top();
      const upserts = after.filter((row) => !before.some((held) => JSON.stringify(held) === JSON.stringify(row)));
      const removals = before.map(({ number }) => number).filter((number) => !after.some((row) => row.number === number));
      followed = applyDelta(followed, delta(followed.version, upserts, removals), limit);
      assert.deepEqual(followed.entries, after);
    }
  }
});
