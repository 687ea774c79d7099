// The JavaScript client against the conformance kit, as any other client's author would run it.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { connect } from "../../../client/js/braingame.js";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

let kit;
let address;

before(async () => {
  const flags = ["run_server.py", "conformance", "--port", "0", "--settle", "0.3"];
  kit = spawn("python", flags, { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
  const [ready] = await once(createInterface(kit.stdout), "line");
  address = ready.split(" ").at(-1);
});

after(async () => {
  kit.kill();
  await once(kit, "exit");
});

const enter = (game) => game.register({ email: "ada@example.test", username: "Ada", password: "correct horse" });

const play = (stages) => async (game) => {
  await enter(game);
  await game.start();
  for (let stage = 0; stage < stages; stage += 1) {
    await game.complete(120);
  }
};

const follow = async (game) => {
  game.follow();
};

const askAtOnce = async (game) => {
  await Promise.all([game.ping(), game.leaderboard(), game.ping()]);
  await game.ping();
};

/** What a user of the client would do for each task. `silence` has its own test, on a clock that can be moved (socket.test.mjs). */
const TASKS = {
  play: play(3),
  duplicate: play(1),
  unavailable: play(1),
  gap: follow,
  "duplicate-delta": follow,
  epoch: follow,
  "entries-null": follow,
  drain: enter,
  expiry: enter,
  expired: enter,
  revoked: enter,
  slow: play(2),
  "unknown-push": play(2),
  order: askAtOnce,
  flood: play(0),
};

test("every scenario is tried", async () => {
  const { scenarios } = await (await fetch(address)).json();
  assert.deepEqual(new Set([...Object.keys(TASKS), "silence"]), new Set(scenarios.map(({ name }) => name)));
});

for (const [name, task] of Object.entries(TASKS)) {
  test(`the client passes ${name}`, { timeout: 60_000 }, async () => {
    const game = connect(`${address.replace("http", "ws")}/${name}/1/ws`);
    const working = task(game).catch(() => {});
    let verdict = { passed: null };
    while (verdict.passed === null) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      const answer = await fetch(`${address}/${name}/1/verdict`);
      verdict = answer.ok ? await answer.json() : verdict;
    }
    game.disconnect();
    await working;
    assert.ok(verdict.passed, JSON.stringify(verdict.steps, null, 1));
  });
}
