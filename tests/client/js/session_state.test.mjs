import assert from "node:assert/strict";
import { test } from "node:test";

import { newerSession } from "../../../client/js/session-state.js";

const state = (sessionVersion, more = {}) => ({ sessionId: "s", sessionVersion, ...more });

test("of two states the one with the higher version is the newer", () => {
  const held = state(4);
  assert.equal(newerSession(held, state(3)), held);
  assert.equal(newerSession(held, state(4)), held, "the same state is not a new one");
  assert.deepEqual(newerSession(held, state(5)), state(5));
  assert.deepEqual(newerSession(null, state(0)), state(0));
});

test("what says that there is no session takes none away", () => {
  const held = state(4);
  for (const none of [null, undefined, state(null, { sessionId: null })]) {
    assert.equal(newerSession(held, none), held);
    assert.equal(newerSession(null, none), null);
  }
});

test("that an outcome was replayed is not part of the state", () => {
  const next = Object.freeze(state(5, { replayed: true }));
  assert.deepEqual(newerSession(null, next), state(5));
});
