import assert from "node:assert/strict";
import { test } from "node:test";

import { follow, solve } from "../../web/js/games/arithmetic.js";

test("a sum comes to what the server says it comes to", () => {
  for (const [text, result] of [["7 + 8", 15], ["9 − 12", -3], ["6 × 7", 42], ["56 ÷ 8", 7], ["4 × 5 − 6", 14], ["30 + 20 − 11", 39]]) {
    assert.equal(solve(text), result);
  }
});

test("right answers lead up, a wrong or a skipped one leads down, never below the first level", () => {
  const puzzle = { levels: [["1 + 1", "1 + 2"], ["2 + 2", "2 + 3"], ["3 + 3"]], firstLevel: 0, raiseAfter: 2, penaltyMs: 2000 };
  const at = (...results) => {
    const { sum, level, right, wrong } = follow(puzzle, results);
    return [sum, level, right, wrong];
  };
  assert.deepEqual(at(), ["1 + 1", 0, 0, 0]);
  assert.deepEqual(at(2), ["1 + 2", 0, 1, 0]);
  assert.deepEqual(at(2, 3), ["2 + 2", 1, 2, 0]);
  assert.deepEqual(at(2, 3, 9), ["1 + 1", 0, 2, 1]); // asked again from the beginning
  assert.deepEqual(at(null, null), ["1 + 1", 0, 0, 2]);
  assert.deepEqual(at(2, 3, 4, 5, 6, 6, 6), ["3 + 3", 2, 7, 0]);
});
