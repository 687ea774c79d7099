/**
 * What a follower of a board holds, and how a delta changes it (docs/protocol.md, "Leaderboard"). Pure: no clock, no
 * DOM, and nothing that is handed in is changed.
 *
 * @typedef {{number: number, username: string, totalScore: number, passedAllGames: boolean, achievedAt: string}} Entry
 * @typedef {{board: string, epoch: string, version: number, total: number, entries: Entry[]}} BoardState
 * @typedef {{board: string, epoch: string, version: number, total: number, entries: Entry[] | null}} Leaderboard
 * @typedef {{board: string, epoch: string, from: number, version: number, total: number, upserts: Entry[],
 *   removals: number[]}} Delta
 */

/**
 * The order of a board: passed all games first, then the higher score, then who was earlier, then the smaller number.
 * Times are compared as text, which is right for RFC 3339 in UTC with milliseconds.
 *
 * @param {Entry} left
 * @param {Entry} right
 */
export function compareEntries(left, right) {
  return (
    Number(right.passedAllGames) - Number(left.passedAllGames) ||
    right.totalScore - left.totalScore ||
    Number(left.achievedAt > right.achievedAt) - Number(left.achievedAt < right.achievedAt) ||
    left.number - right.number
  );
}

/**
 * The state that a `leaderboard` message gives. One without entries says that `held` is still right.
 *
 * @param {Leaderboard} message
 * @param {BoardState | null} held
 * @returns {BoardState | null} null when there is nothing held that it could confirm: subscribe again, without `since`
 */
export function fromLeaderboard(message, held) {
  const { board, epoch, version, total } = message;
  if (message.entries !== null) {
    return { board, epoch, version, total, entries: message.entries.map(pick) };
  }
  return held?.epoch === epoch && held.version === version ? { ...held, total } : null;
}

/**
 * The state after a delta, for a follower of the first `limit` rows.
 *
 * @param {BoardState} state
 * @param {Delta} delta
 * @param {number} limit
 * @returns {BoardState | null} null when the delta does not build on this state: subscribe again
 */
export function applyDelta(state, delta, limit) {
  if (delta.board !== state.board || delta.epoch !== state.epoch || delta.from !== state.version) {
    return null;
  }
  const byNumber = new Map(state.entries.map((entry) => [entry.number, entry]));
  for (const number of delta.removals) {
    byNumber.delete(number);
  }
  for (const entry of delta.upserts) {
    byNumber.set(entry.number, pick(entry));
  }
  const entries = [...byNumber.values()].sort(compareEntries).slice(0, limit);
  return { board: state.board, epoch: delta.epoch, version: delta.version, total: delta.total, entries };
}

/**
 * Only the fields that are known: others may be added to the protocol, and `position` would go stale.
 *
 * @param {Entry} entry
 * @returns {Entry}
 */
function pick({ number, username, totalScore, passedAllGames, achievedAt }) {
  return { number, username, totalScore, passedAllGames, achievedAt };
}
