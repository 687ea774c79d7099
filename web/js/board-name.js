/**
 * The names of boards: a period, and maybe one difficulty, as in `daily:3`. Pure.
 *
 * @typedef {"all-time" | "weekly" | "daily"} Period
 * @typedef {{period: Period, difficulty: number | null}} BoardName
 */

const FORM = /^(all-time|weekly|daily)(?::([0-9]))?$/;

/**
 * @param {string} text
 * @returns {BoardName | null} null when there is no such board
 */
export function parseBoardName(text) {
  const found = FORM.exec(text);
  if (found === null) {
    return null;
  }
  const period = /** @type {Period} */ (found[1]);
  return { period, difficulty: found[2] === undefined ? null : Number(found[2]) };
}

/** @param {BoardName} name */
export function formatBoardName({ period, difficulty }) {
  return difficulty === null ? period : `${period}:${difficulty}`;
}
