/** Which of two states of a player's session is the newer one. Pure. */

/** @typedef {import("./messages.js").SessionData} SessionData */

/**
 * @param {SessionData | null} held
 * @param {SessionData | null | undefined} next a state of the same player; without an id it says that there is none
 * @returns {SessionData | null} `held` itself unless `next` is newer
 */
export function newerSession(held, next) {
  if (next == null || next.sessionId === null || Number(next.sessionVersion) <= Number(held?.sessionVersion ?? -1)) {
    return held;
  }
  const { replayed, stageScore, verdict, ...session } = next;
  return session;
}
