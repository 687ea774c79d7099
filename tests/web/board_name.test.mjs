import assert from "node:assert/strict";
import { test } from "node:test";

import { formatBoardName, parseBoardName } from "../../web/js/board-name.js";

test("the thirty-three boards are known, and written as they were read", () => {
  let count = 0;
  for (const period of ["all-time", "weekly", "daily"]) {
    for (const suffix of ["", ..."0123456789"].map((level) => level && `:${level}`)) {
      assert.equal(formatBoardName(parseBoardName(period + suffix)), period + suffix);
      count += 1;
    }
  }
  assert.equal(count, 33);
  assert.deepEqual(parseBoardName("daily:3"), { period: "daily", difficulty: 3 });
  assert.deepEqual(parseBoardName("weekly"), { period: "weekly", difficulty: null });
});

test("any other name is none", () => {
  for (const text of ["", "monthly", "daily:", "daily:10", "daily:x", "Daily", " daily", "daily\n", "constructor"]) {
    assert.equal(parseBoardName(text), null, text);
  }
});
