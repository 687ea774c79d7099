import assert from "node:assert/strict";
import { test } from "node:test";

import { applyDelta, compareEntries, fromLeaderboard } from "../../../client/js/board-state.js";

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

test("what is handed in is not changed", () => {
  const deepFreeze = (value) => {
    Object.values(value).filter((part) => typeof part === "object").forEach(deepFreeze);
    return Object.freeze(value);
  };
  const held = deepFreeze(state([entry(1, 50), entry(2, 40)]));
  const change = deepFreeze(delta(1, [entry(2, 60)], [1]));
  assert.deepEqual(applyDelta(held, change, 10).entries, [entry(2, 60)]);
  assert.deepEqual(fromLeaderboard(held, null), held);
});

test("a delta may name who is not held, and rows behind the last that is", () => {
  const after = applyDelta(state([entry(1, 50), entry(2, 40)]), delta(1, [entry(8, 1), entry(9, 45)], [7]), 2);
  assert.deepEqual(after.entries, [entry(1, 50), entry(9, 45)]);
});

/** mulberry32, a small generator with a seed, so that a failure can be repeated. */
const seeded = (seed) => (below) => {
  seed = (seed + 0x6d2b79f5) | 0;
  let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
};

/** The model: the whole board, ranked by counting who is better, in words of its own. */
const better = (one, other) => {
  if (one.passedAllGames !== other.passedAllGames) return one.passedAllGames;
  if (one.totalScore !== other.totalScore) return one.totalScore > other.totalScore;
  const [oneAt, otherAt] = [Date.parse(one.achievedAt), Date.parse(other.achievedAt)];
  return oneAt !== otherAt ? oneAt < otherAt : one.number < other.number;
};
const top = (all, limit) => {
  const ranked = [];
  for (const row of all.values()) {
    const position = [...all.values()].filter((other) => better(other, row)).length;
    if (position < limit) ranked[position] = row;
  }
  return ranked;
};

for (const seed of [1, 20261123, 0xdecade]) {
  test(`random changes, applied as deltas, lead to the top of the whole board (seed ${seed})`, () => {
    const random = seeded(seed);
    for (const limit of [10, 25]) {
      const all = new Map();
      let followed = state([]);
      let version = 1;
      for (let round = 0; round < 300; round += 1) {
        const before = top(all, limit);
        for (let change = random(4); change >= 0; change -= 1) {
          const number = 1 + random(40);
          if (random(12) === 0) {
            all.delete(number);
          } else {
            const at = new Date(Date.UTC(2026, 10, 23) + random(5)).toISOString();
            all.set(number, entry(number, random(20), random(3) === 0, at));
          }
        }
        const after = top(all, limit);
        const upserts = after.filter((row) => !before.includes(row));
        const removals = before.map(({ number }) => number).filter((number) => !after.some((row) => row.number === number));
        upserts.sort(() => random(3) - 1); // the order in which they come says nothing
        const next = version + 1 + random(3); // several changes may come as one
        followed = applyDelta(followed, delta(version, upserts, removals, { version: next, total: all.size }), limit);
        assert.deepEqual(followed, { board: "daily", epoch: "e", version: next, total: all.size, entries: after });
        version = next;
      }
    }
  });
}
