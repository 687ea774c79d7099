// Plays and watches while the server goes away and comes back. Says where it is, one word a line; goes on when it is told
// to. Usage: through_a_restart.mjs PORT

import assert from "node:assert/strict";
import { once } from "node:events";
import { createInterface } from "node:readline";

import { connect } from "../../../client/js/braingame.js";

const url = `ws://127.0.0.1:${process.argv[2]}/ws`;
const lines = createInterface({ input: process.stdin });
const told = () => once(lines, "line");

const game = connect(url);
const watcher = connect(url);
await game.register({ email: `${crypto.randomUUID()}@example.test`, username: "Ann", password: "correct horse" });
const own = game.follow("daily:2", { limit: 25 });
const boards = [watcher.follow("daily:2"), watcher.follow("all-time", { limit: 100 })];
await game.start({ difficulty: 2 });
await game.complete(1);
const tokens = game.tokens;

console.log("playing");
await told();

assert.ok(boards.every(({ live }) => !live), "nothing is live without a server");
const [second, third] = [game.complete(20), game.complete(300)];
assert.equal(game.pending, 2);
console.log("waiting");

assert.equal((await second).sessionStage, 2);
assert.deepEqual([(await third).sessionStatus, game.session.sessionTotalScore], [1, 321]);
assert.deepEqual(game.tokens, tokens);
for (const board of boards) {
  while (!board.live || board.state.entries[0]?.totalScore !== 321) {
    await once(board, "state");
  }
  assert.deepEqual(board.state.entries.map(({ username }) => username), ["Ann"]);
}
while (own.place?.position !== 1) {
  await once(own, "place");
}

assert.deepEqual(await game.me(), game.user);
assert.equal((await game.leaderboard("daily:2", { around: "me", limit: 1 })).entries[0].username, "Ann");
assert.equal((await game.logins()).length, 1);
await game.changePassword({ password: "correct horse", newPassword: "battery staple" });
const again = connect(url);
await assert.rejects(again.login({ email: game.user.email, password: "correct horse" }), { code: "invalid_credentials" });
await again.login({ email: game.user.email, password: "battery staple" });
const followed = once(game, "session");
await again.start();
await followed;
assert.equal(game.session.sessionVersion, again.session.sessionVersion);

const other = (await game.logins()).find(({ current }) => !current);
const out = once(again, "loggedout");
await game.revokeLogin(other.id);
await out;
assert.equal(again.tokens, null);

await watcher.resume(tokens);
assert.equal(watcher.user.username, "Ann");
await game.deleteAccount();
assert.equal(game.tokens, null);
while (boards[1].state.total !== 0) {
  await once(boards[1], "state");
}
[game, watcher, again].forEach((one) => one.disconnect());
lines.close();
process.stdin.destroy();
console.log("done");
