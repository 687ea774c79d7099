import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { ConnectionLost, Game, ServerError } from "../../../client/js/braingame.js";
import { FakeWebSocket, settled } from "./fakes.mjs";

const ANN = { id: "u1", username: "Ann", email: "ann@example.test", number: 1 };
const BEN = { id: "u2", username: "Ben", email: "ben@example.test", number: 2 };
const session = (version, more = {}) => ({
  sessionId: "s1",
  sessionStatus: 0,
  sessionStage: 0,
  sessionTotalScore: 0,
  sessionDifficulty: 0,
  sessionStageCount: 3,
  sessionStartedAt: "2026-11-23T10:00:00.000Z",
  sessionVersion: version,
  ...more,
});
const NO_SESSION = Object.fromEntries(Object.keys(session(0)).map((name) => [name, null]));
const granted = (count, user = ANN, state = null) => ({
  token: `access ${count}`,
  tokenExpiresAt: `2026-11-23T1${count}:00:00.000Z`,
  refreshToken: `refresh ${count}`,
  user,
  session: state,
});
const resumed = ({ refreshToken, ...reply }) => reply;

let game;
let happened;
let keys;
const socket = () => FakeWebSocket.last;
const tick = async (milliseconds) => {
  mock.timers.tick(milliseconds);
  await settled();
};
/** The connection goes, and another comes. */
const reconnect = async (code) => {
  socket().die(code);
  await tick(1000);
  socket().open();
  await settled();
};
const logIn = async (count = 1, user = ANN, state = null) => {
  const done = game.login({ email: "ann@example.test", password: "correct horse" });
  await settled();
  socket().take("auth.login").reply("authenticated", granted(count, user, state));
  return done;
};

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_000_000 });
  FakeWebSocket.tries = [];
  keys = 0;
  game = new Game("ws://here/ws", { WebSocket: FakeWebSocket, random: () => 1, uuid: () => `key number ${++keys}` });
  happened = [];
  for (const type of ["up", "down", "tokens", "loggedout", "session"]) {
    game.addEventListener(type, ({ detail }) => happened.push([type, detail?.code ?? detail?.token ?? detail]));
  }
  game.open();
  socket().open({ limits: { stages: 3 } });
});

test("who registers is logged in, and is told the tokens to keep", async () => {
  const done = game.register({ email: "ann@example.test", username: "Ann", password: "correct horse" });
  await settled();
  const request = socket().take("auth.register");
  assert.deepEqual(request.data, { email: "ann@example.test", username: "Ann", password: "correct horse" });
  request.reply("authenticated", granted(1));
  await done;
  assert.deepEqual(game.user, ANN);
  assert.deepEqual(game.tokens, { token: "access 1", tokenExpiresAt: granted(1).tokenExpiresAt, refreshToken: "refresh 1" });
  assert.deepEqual(happened, [["up", null], ["tokens", "access 1"]]);
});

test("a form with mistakes is answered with all that the server says of them", async () => {
  const done = game.register({ email: "x", username: "", password: "" });
  await settled();
  const fields = [{ path: "email", message: "not an address" }];
  socket().take("auth.register").refuse("invalid", { message: "Some fields are wrong.", fields });
  await assert.rejects(done, (error) => {
    assert.ok(error instanceof ServerError);
    assert.deepEqual(
      { ...error, message: error.message },
      {
        name: "ServerError",
        code: "invalid",
        message: "Some fields are wrong.",
        fields,
        retryable: false,
        retryAfterMs: undefined,
        session: null,
      },
    );
    return true;
  });
  assert.equal(game.tokens, null);
});

test("each action is sent after the one before has its outcome, and they stay in order", async () => {
  await logIn();
  const done = [game.start({ difficulty: 3 }), game.complete(120), game.fail(5), game.cancel()];
  await settled();
  assert.equal(game.pending, 4);
  assert.equal(socket().sent.length, 1);
  for (const [type, data] of [
    ["session.start", { difficulty: 3, key: "key number 1" }],
    ["session.complete", { score: 120, key: "key number 2" }],
    ["session.close", { score: 5, key: "key number 3" }],
    ["session.cancel", { key: "key number 4" }],
  ]) {
    const request = socket().take(type);
    assert.deepEqual(request.data, data);
    assert.equal(socket().sent.length, 0);
    request.reply("session", session(keys));
    await settled();
  }
  await Promise.all(done);
  assert.equal(game.pending, 0);
});

test("an action whose answer was lost is sent again with its key, after the login and before what came later", async () => {
  await logIn();
  const started = game.start();
  const completed = game.complete(7, { key: "drawn before" });
  await settled();
  const { data } = socket().take("session.start");
  await reconnect();
  assert.equal(socket().sent.length, 1, "nothing is sent before the server knows who asks");
  const resume = socket().take("auth.resume");
  assert.deepEqual(resume.data, { token: "access 1" });
  resume.reply("authenticated", resumed(granted(1, ANN, session(1))));
  await settled();
  const again = socket().take("session.start");
  assert.deepEqual(again.data, data);
  again.reply("session", { ...session(1), replayed: true });
  assert.equal((await started).replayed, true);
  await settled();
  const next = socket().take("session.complete");
  assert.equal(next.data.key, "drawn before");
  next.reply("session", session(2, { sessionTotalScore: 7 }));
  assert.equal((await completed).sessionTotalScore, 7);
});

test("an action that is wanted without a connection waits for one", async () => {
  await logIn();
  socket().die();
  const started = game.start();
  await tick(1000);
  socket().open();
  await settled();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  socket().take("session.start").reply("session", session(1));
  await started;
});

test("an action is tried again while the error says that it helps, not before the time that it says", async () => {
  await logIn();
  const started = game.start();
  await settled();
  const { data } = socket().take("session.start");
  socket().say({ type: "error", re: 2, data: { code: "unavailable", message: "", retryable: true, retryAfterMs: 3000 } });
  await settled();
  await tick(2999);
  assert.equal(socket().sent.length, 0);
  await tick(1);
  const second = socket().take("session.start");
  assert.deepEqual(second.data, data);
  second.refuse("rate_limited", { retryable: true });
  await settled();
  await tick(2000);
  socket().take("session.start").reply("session", session(1));
  await started;
});

test("a final error ends an action, brings the session as it is, and lets the next one through", async () => {
  await logIn();
  const completed = game.complete(1);
  const started = game.start();
  await settled();
  const is = session(9, { sessionStatus: 1 });
  socket().take("session.complete").refuse("session_not_active", { session: is });
  await assert.rejects(completed, (error) => error.code === "session_not_active" && error.session.sessionVersion === 9);
  assert.deepEqual(game.session, is);
  await settled();
  socket().take("session.start").reply("session", session(10));
  await started;
});

test("an action ends with its time or its signal, wherever it is, and is not sent any more", async () => {
  await logIn();
  const first = game.start({ timeoutMs: 5000 });
  const controller = new AbortController();
  const second = game.complete(2, { signal: controller.signal });
  const third = game.complete(3);
  await settled();
  const request = socket().take("session.start");
  controller.abort(new Error("Never mind."));
  await assert.rejects(second, { message: "Never mind." });
  const late = assert.rejects(first, { name: "TimeoutError" });
  await tick(5000);
  await late;
  request.reply("session", session(1));
  await settled();
  const next = socket().take("session.complete");
  assert.equal(next.data.score, 3);
  next.reply("session", session(2));
  await third;
  assert.equal(game.pending, 0);
  const gone = AbortSignal.abort(new Error("Too late."));
  await assert.rejects(game.complete(4, { signal: gone }), { message: "Too late." });
  assert.equal(socket().sent.length, 0);
});

test("an action that nobody waits for any more is not sent on the next connection", async () => {
  await logIn();
  const started = game.start({ timeoutMs: 500 });
  await settled();
  socket().take("session.start");
  socket().die();
  const late = assert.rejects(started, { name: "TimeoutError" });
  await tick(500);
  await late;
  await tick(500);
  socket().open();
  await settled();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  assert.equal(socket().sent.length, 0);
});

test("an action without a time of its own waits as long as it takes, a question does not", async () => {
  await logIn();
  const started = game.start();
  const asked = assert.rejects(game.me(), { name: "TimeoutError" });
  socket().die();
  for (let minute = 0; minute < 10; minute += 1) {
    await tick(60_000);
    socket().die();
  }
  await asked;
  await tick(60_000);
  socket().open();
  await settled();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  socket().take("session.start").reply("session", session(1));
  await started;
  assert.equal(socket().sent.length, 0);
});

test("the newest state of the session is kept, wherever it comes from", async () => {
  await logIn(1, ANN, session(5));
  assert.equal(game.session.sessionVersion, 5);
  socket().push("session", session(7));
  socket().push("session", session(6));
  socket().push("session", NO_SESSION);
  assert.equal(game.session.sessionVersion, 7);
  const asked = game.lastSession();
  await settled();
  socket().take("session.last").reply("session", session(8));
  await asked;
  assert.equal(game.session.sessionVersion, 8);
  assert.equal(happened.filter(([type]) => type === "session").length, 3);
});

test("who has no session yet has none", async () => {
  await logIn();
  const asked = game.lastSession();
  await settled();
  socket().take("session.last").reply("session", NO_SESSION);
  assert.equal(await asked, null);
  assert.equal(game.session, null);
});

test("tokens that are running out are exchanged, while everything goes on", async () => {
  await logIn();
  socket().push("auth.expiring", { tokenExpiresAt: "soon" });
  await settled();
  const refresh = socket().take("auth.refresh");
  const asked = game.me();
  await settled();
  socket().take("user.me").reply("user", ANN);
  await asked;
  assert.deepEqual(refresh.data, { refreshToken: "refresh 1" });
  refresh.reply("authenticated", granted(2));
  await settled();
  assert.equal(game.tokens.refreshToken, "refresh 2");
  await reconnect();
  assert.deepEqual(socket().take("auth.resume").data, { token: "access 2" });
});

test("an answer to a stage is sent as an action, and what it was worth is not a part of the session", async () => {
  await logIn();
  const done = game.answer({ results: [7] });
  await settled();
  const request = socket().take("stage.answer");
  assert.deepEqual(request.data, { answer: { results: [7] }, key: "key number 1" });
  request.reply("session", session(4, { stageScore: 120, verdict: "passed" }));
  assert.deepEqual(await done, session(4, { stageScore: 120, verdict: "passed" }));
  assert.deepEqual(game.session, session(4));
});

test("of two clients that go by the same tokens one exchanges them, and the other takes the new ones", async () => {
  let kept = null;
  let turns = Promise.resolve();
  const shared = {
    newest: () => kept,
    alone: (job) => (turns = turns.then(job, job)),
  };
  const sockets = [];
  const games = [];
  for (let number = 0; number < 2; number += 1) {
    const one = new Game("ws://here/ws", { WebSocket: FakeWebSocket, random: () => 1, shared });
    one.addEventListener("tokens", ({ detail }) => (kept = detail));
    one.open();
    sockets.push(socket());
    socket().open();
    const done = one.resume({ token: "access 1", refreshToken: "refresh 1" });
    await settled();
    socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
    await done;
    games.push(one);
  }
  sockets.forEach((one) => one.push("auth.expiring", {}));
  await settled();
  assert.equal(sockets[1].sent.length, 0);
  sockets[0].take("auth.refresh").reply("authenticated", granted(2));
  await settled();
  const resume = sockets[1].take("auth.resume");
  assert.deepEqual(resume.data, { token: "access 2" });
  resume.reply("authenticated", resumed(granted(2)));
  await settled();
  assert.deepEqual(games.map((one) => one.tokens.refreshToken), ["refresh 2", "refresh 2"]);
});

test("an exchange is tried again while the store is away, and costs nobody the login", async () => {
  await logIn();
  socket().push("auth.expiring", {});
  await settled();
  socket().take("auth.refresh").refuse("unavailable", { retryable: true, retryAfterMs: 700 });
  await settled();
  await tick(700);
  socket().take("auth.refresh").refuse("internal");
  await settled();
  assert.notEqual(game.tokens, null);
  await tick(2000);
  socket().take("auth.refresh").reply("authenticated", granted(2));
  await settled();
  assert.equal(game.tokens.token, "access 2");
});

test("a token that expired meanwhile is exchanged on the new connection", async () => {
  await logIn();
  await reconnect();
  socket().take("auth.resume").refuse("token_expired");
  await settled();
  socket().take("auth.refresh").reply("authenticated", granted(2));
  await settled();
  assert.equal(game.tokens.token, "access 2");
  assert.deepEqual(happened.slice(-1), [["tokens", "access 2"]]);
});

test("after a close with 4401 the refresh token is tried at once, and refused it is the end of the login", async () => {
  await logIn();
  const started = game.start();
  await settled();
  socket().take("session.start");
  await reconnect(4401);
  socket().take("auth.refresh").refuse("token_revoked");
  await assert.rejects(started, { code: "token_revoked" });
  assert.equal(game.tokens, null);
  assert.equal(game.user, null);
  assert.deepEqual(happened.slice(-2), [["tokens", null], ["loggedout", "token_revoked"]]);
  await reconnect();
  assert.equal(socket().sent.length, 0);
});

test("a socket that the server takes for a spectator's shows its token again before it gives up", async () => {
  await logIn();
  const started = game.start();
  await settled();
  const { data } = socket().take("session.start");
  socket().say({ type: "error", re: 2, data: { code: "unauthenticated", message: "", retryable: false } });
  await settled();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  const again = socket().take("session.start");
  assert.deepEqual(again.data, data);
  again.refuse("unauthenticated");
  await assert.rejects(started, { code: "unauthenticated" });
});

test("who is nobody is told so", async () => {
  const started = game.start();
  await settled();
  socket().take("session.start").refuse("unauthenticated");
  await assert.rejects(started, { code: "unauthenticated" });
  await assert.rejects(game.compare("a", "b"), { code: "unauthenticated" });
  assert.equal(socket().sent.length, 0);
});

test("kept tokens are resumed, and a spent one is exchanged", async () => {
  const done = game.resume({ token: "access 1", refreshToken: "refresh 1" });
  await settled();
  socket().take("auth.resume").refuse("token_expired");
  await settled();
  socket().take("auth.refresh").reply("authenticated", granted(2, ANN, session(4)));
  assert.equal((await done).user.username, "Ann");
  assert.equal(game.session.sessionVersion, 4);
});

test("kept tokens that are refused are the end of the login, but not of watching", async () => {
  const done = game.resume({ refreshToken: "refresh 1" });
  await settled();
  socket().take("auth.refresh").refuse("unauthenticated");
  await assert.rejects(done, { code: "unauthenticated" });
  assert.deepEqual(happened.slice(-2), [["tokens", null], ["loggedout", "unauthenticated"]]);
  assert.equal(game.connected, true);
});

test("tokens are resumed as soon as there is a connection, and over a lost one", async () => {
  socket().die();
  const done = game.resume({ token: "access 1", refreshToken: "refresh 1" });
  await tick(1000);
  socket().open();
  await settled();
  socket().take("auth.resume");
  socket().die();
  await tick(2000);
  socket().open();
  await settled();
  assert.equal(socket().sent.length, 1);
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await done;
});

for (const [fate, answer] of [
  ["refused", (request) => request.refuse("token_revoked")],
  ["taken", (request) => request.reply("authenticated", resumed(granted(2, BEN, session(9))))],
]) {
  test(`other tokens take the place of those that are being tried, which are ${fate}`, async () => {
    const first = game.resume({ token: "old", refreshToken: "old" });
    const superseded = assert.rejects(first, { name: "AbortError" });
    await settled();
    const request = socket().take("auth.resume");
    const second = game.resume({ token: "access 1", refreshToken: "refresh 1" });
    await superseded;
    answer(request);
    await settled();
    assert.equal(game.user, null);
    const next = socket().take("auth.resume");
    assert.deepEqual(next.data, { token: "access 1" });
    next.reply("authenticated", resumed(granted(1)));
    await second;
    assert.deepEqual(game.user, ANN);
    assert.equal(game.session, null);
    assert.ok(happened.every(([type]) => type !== "loggedout"));
  });
}

test("a login waits for a connection, and is not sent twice when its answer is lost", async () => {
  socket().die();
  const done = game.login({ email: "ann@example.test", password: "correct horse" });
  await tick(1000);
  socket().open();
  await settled();
  socket().take("auth.login");
  socket().die();
  await assert.rejects(done, (error) => error instanceof ConnectionLost && error.sent);
});

test("nothing of one player is done or shown for another", async () => {
  await logIn(1, ANN, session(5));
  const board = game.follow("daily");
  socket().take("leaderboard.subscribe").reply("leaderboard", { board: "daily", epoch: "e", version: 1, total: 0, entries: [] });
  socket().push("leaderboard.place", { board: "daily", epoch: "e", version: 1, total: 4, position: 2 });
  const first = game.complete(1);
  await settled();
  socket().take("session.complete");
  const second = game.complete(2);
  const done = [assert.rejects(first, { code: "unauthenticated" }), assert.rejects(second, { code: "unauthenticated" })];
  await logIn(2, BEN);
  await Promise.all(done);
  await settled();
  assert.equal(game.session, null);
  assert.equal(board.place, null);
  assert.deepEqual(game.user, BEN);
  assert.equal(socket().sent.length, 0);
});

test("an action that is wanted while somebody logs in is that player's", async () => {
  const entering = game.login({ email: "ann@example.test", password: "correct horse" });
  const started = game.start();
  await settled();
  const login = socket().take("auth.login");
  assert.equal(socket().sent.length, 0);
  login.reply("authenticated", granted(1));
  await entering;
  await settled();
  socket().take("session.start").reply("session", session(1));
  await started;
});

test("who logs out keeps no tokens, also when that login had ended already", async () => {
  for (const answer of [({ reply }) => reply("ok", {}), ({ refuse }) => refuse("unauthenticated")]) {
    await logIn(1, ANN, session(5));
    const done = game.logout();
    await settled();
    answer(socket().take("auth.logout"));
    await settled();
    if (socket().sent.length > 0) {
      socket().take("auth.resume").refuse("token_revoked");
    }
    await settled();
    if (socket().sent.length > 0) {
      socket().take("auth.logout").refuse("unauthenticated");
    }
    await done;
    assert.equal(game.tokens, null);
    assert.equal(game.session, null);
    assert.equal(happened.filter(([type]) => type === "loggedout").length, 1);
    happened.length = 0;
  }
});

test("a question goes again when its answer was lost; what must not be done twice does not", async () => {
  await logIn();
  const logins = game.logins();
  const changed = game.changePassword({ password: "correct horse", newPassword: "battery staple" });
  await settled();
  socket().take("logins.list");
  socket().take("user.password");
  const lost = assert.rejects(changed, ConnectionLost);
  await reconnect();
  await lost;
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  const list = [{ id: "l1", createdAt: "", lastUsedAt: "", current: true }];
  socket().take("logins.list").reply("logins", { logins: list });
  assert.deepEqual(await logins, list);
  assert.equal(socket().sent.length, 0);
});

test("what must not be done twice waits for the next connection as long as it was not sent", async () => {
  await logIn();
  const changed = game.changePassword({ password: "correct horse", newPassword: "battery staple" });
  await reconnect();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  socket().take("user.password").reply("ok", {});
  await changed;
});

test("every other request says what the protocol says", async () => {
  await logIn();
  const board = { board: "daily:3", epoch: "e", version: 1, total: 0, entries: [] };
  for (const [ask, type, data, reply, answer, expected] of [
    [() => game.me(), "user.me", {}, "user", ANN, ANN],
    [() => game.deal(), "stage.deal", {}, "stage", { game: "sums" }, { game: "sums" }],
    [() => game.ping(), "ping", {}, "pong", { serverTime: "now" }, "now"],
    [() => game.revokeLogin("l2"), "logins.revoke", { id: "l2" }, "ok", {}, undefined],
    [() => game.compare("one", "two"), "images.compare", { originalImage: "one", drawnImage: "two" }, "images.distance", { distance: 12 }, 12],
    [() => game.leaderboard("daily:3", { limit: 5, around: "me" }), "leaderboard.get", { board: "daily:3", limit: 5, around: "me" }, "leaderboard", board, board],
    [() => game.deleteAccount(), "user.delete", {}, "ok", {}, undefined],
  ]) {
    const done = ask();
    await settled();
    const request = socket().take(type);
    assert.deepEqual(request.data, data);
    request.reply(reply, answer);
    assert.deepEqual(await done, expected);
  }
  assert.equal(game.tokens, null);
});

test("several boards are followed at once, each with its own deltas, and again after a lost connection", async () => {
  const entry = (number) => ({ number, username: "n", totalScore: number, passedAllGames: true, achievedAt: "2026" });
  const daily = game.follow("daily:3", { limit: 25 });
  const weekly = game.follow("weekly");
  for (const [board, limit] of [["daily:3", 25], ["weekly", 10]]) {
    const request = socket().take("leaderboard.subscribe");
    assert.deepEqual(request.data, { board, limit });
    request.reply("leaderboard", { board, epoch: "e", version: 1, total: 1, entries: [entry(1)] });
  }
  await settled();
  const change = { epoch: "e", from: 1, version: 2, total: 2, upserts: [entry(2)], removals: [], later: "a field" };
  socket().push("leaderboard.delta", { board: "daily:3", ...change });
  assert.deepEqual([daily, weekly].map(({ state }) => state.entries.length), [2, 1]);
  await reconnect();
  assert.deepEqual(
    socket().sent.map(({ data }) => [data.board, data.since.version]),
    [["daily:3", 2], ["weekly", 1]],
  );
  socket().sent.length = 0;
  assert.throws(() => game.follow("weekly"), /followed already/);
  assert.throws(() => game.follow("daily", { limit: 11 }), RangeError);
  weekly.unfollow();
  socket().take("leaderboard.unsubscribe");
  game.follow("weekly", { limit: 100 });
  assert.equal(socket().take("leaderboard.subscribe").data.limit, 100);
});

test("pushes that are not known are passed on and change nothing", async () => {
  await logIn();
  const before = happened.length;
  const pushes = [];
  game.addEventListener("push", ({ detail }) => pushes.push(detail));
  socket().say({ type: "fireworks", data: { board: "daily" }, extra: 1 });
  socket().say({ type: "error", data: { code: "malformed", message: "" } });
  assert.deepEqual(pushes.map(({ type }) => type), ["fireworks", "error"]);
  assert.equal(happened.length, before);
});

test("while a server drains, what is wanted waits for the next connection, not before the time", async () => {
  await logIn();
  const started = game.start();
  await settled();
  socket().push("server.draining", { reconnectAfterMs: 4000 });
  const completed = game.complete(1);
  socket().take("session.start").reply("session", session(1));
  await started;
  await settled();
  assert.equal(socket().sent.length, 0);
  socket().die(1001);
  await tick(3999);
  assert.equal(FakeWebSocket.tries.length, 1);
  await tick(1);
  socket().open();
  await settled();
  socket().take("auth.resume").reply("authenticated", resumed(granted(1)));
  await settled();
  socket().take("session.complete").reply("session", session(2));
  await completed;
});

test("a connection that nobody needed is opened again by who does", async () => {
  socket().die(4408);
  await tick(60_000);
  assert.equal(FakeWebSocket.tries.length, 1);
  const done = game.login({ email: "ann@example.test", password: "correct horse" });
  assert.equal(FakeWebSocket.tries.length, 2);
  socket().open();
  await settled();
  socket().take("auth.login").reply("authenticated", granted(1));
  await done;
  socket().die(4408);
  await tick(1000);
  assert.equal(FakeWebSocket.tries.length, 3, "who is logged in has a purpose");
});

test("disconnected, everything that waits is told, and the login can be resumed later", async () => {
  await logIn();
  const waiting = [game.start(), game.complete(1), game.me()].map((one) => assert.rejects(one, ConnectionLost));
  await settled();
  game.disconnect();
  await Promise.all(waiting);
  await assert.rejects(game.me(), ConnectionLost);
  await tick(600_000);
  assert.equal(FakeWebSocket.tries.length, 1);
  assert.equal(game.tokens.token, "access 1");
});
