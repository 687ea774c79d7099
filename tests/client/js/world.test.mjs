import assert from "node:assert/strict";
import { test } from "node:test";

import { makeWorld } from "../../../client/js/world.js";

test("keys are new each time and fit the contract, also on a page without TLS", (context) => {
  for (const uuid of [crypto.randomUUID, undefined]) {
    Object.defineProperty(crypto, "randomUUID", { value: uuid, configurable: true });
    context.after(() => delete crypto.randomUUID);
    const keys = Array.from({ length: 100 }, makeWorld().uuid);
    assert.equal(new Set(keys).size, 100);
    assert.ok(keys.every((key) => /^[0-9a-f-]{32,36}$/.test(key)));
  }
});

test("what is given takes the place of what is real", () => {
  const now = () => 5;
  assert.equal(makeWorld({ now }).now, now);
  assert.equal(makeWorld().WebSocket, WebSocket);
});
