import assert from "node:assert/strict";
import { test } from "node:test";

import { pauseAfter, pauseAfterMisconduct } from "../../../client/js/backoff.js";

test("a pause is drawn from nought to a ceiling that doubles up to 15 s", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 5000].map((failures) => pauseAfter(failures, 1)), [1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
  assert.deepEqual([0, 0.25, 0.5].map((random) => pauseAfter(1, random)), [0, 500, 1000]);
});

test("after misconduct it is never short", () => {
  assert.deepEqual([0, 0.5, 1].map(pauseAfterMisconduct), [15_000, 22_500, 30_000]);
});
