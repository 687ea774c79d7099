// The job that each peer does, apart from how it speaks to its clients: rules, one statement an action, the board.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { Redis } from "ioredis";
import pg from "pg";

const STAGES = 3;
const BOARD = "peers:board";
const TICK_MS = 100;
const START = 0, COMPLETE = 1;
const PLAYING = 0, FINISHED = 1;
const sql = (name) => readFileSync(new URL(`../${name}.sql`, import.meta.url), "utf8");
const ACT = sql("act");

// postgresql://user@/database?host=/folder&port=1 and unix:///path, as the benchmark's stores are named.
const database = new URL(process.env.DATABASE_URL.replace("@/", "@localhost/"));
const pool = new pg.Pool({
  user: database.username,
  host: database.searchParams.get("host"),
  port: Number(database.searchParams.get("port")),
  database: database.pathname.slice(1),
  max: 20,
});
const redis = new Redis(process.env.REDIS_URL.replace("unix://", ""), { enableAutoPipelining: true });

export const prepare = () => pool.query(sql("schema"));

export const register = async (username) => {
  const { rows } = await pool.query({
    name: "register",
    text: "INSERT INTO peers.sessions (username) VALUES ($1) RETURNING number, version",
    values: [username],
  });
  return { number: rows[0].number, username, version: Number(rows[0].version), session: null };
};

const next = (player, kind, score) => {
  const now = new Date();
  if (kind === "session.start") {
    return { id: randomUUID(), status: PLAYING, stage: 0, total: 0, startedAt: now, endedAt: null };
  }
  const { session } = player;
  if (session?.status !== PLAYING || !Number.isSafeInteger(score) || score < 0) return null;
  const last = session.stage + 1 === STAGES;
  return {
    ...session,
    status: last ? FINISHED : PLAYING,
    stage: last ? session.stage : session.stage + 1,
    total: session.total + score,
    endedAt: last ? now : null,
  };
};

// Applies an action; gives the session as it goes to the client, or the code of an error.
export const act = async (player, kind, score, changed) => {
  const session = next(player, kind, score);
  if (session === null) return { error: "session_not_active" };
  const version = player.version + 1;
  const { rows } = await pool.query({
    name: "act",
    text: ACT,
    values: [
      player.number, version, randomUUID(), kind === "session.start" ? START : COMPLETE, score ?? null, session.id,
      session.status, session.stage, session.total, session.startedAt, session.endedAt, new Date(),
    ],
  });
  if (rows[0].applied !== "1") return { error: "conflict" };
  player.version = version;
  player.session = session;
  if (rows[0].improved === "1") {
    await redis.zadd(BOARD, "GT", session.total, player.username);
    changed();
  }
  return {
    sessionId: session.id,
    sessionStatus: session.status,
    sessionStage: session.stage,
    sessionTotalScore: session.total,
    sessionStartedAt: session.startedAt.toISOString(),
    sessionVersion: version,
  };
};

export const top = async () => {
  const found = await redis.zrevrange(BOARD, 0, 9, "WITHSCORES");
  return Array.from({ length: found.length / 2 }, (_, i) => ({ username: found[2 * i], totalScore: Number(found[2 * i + 1]) }));
};

// Calls `tell` with the board at most ten times a second, when something has changed.
export const ticking = (tell) => {
  let dirty = false;
  setInterval(async () => {
    if (!dirty) return;
    dirty = false;
    tell(await top());
  }, TICK_MS);
  return () => { dirty = true; };
};
