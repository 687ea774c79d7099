/** How long to wait before the next try. Pure: who asks brings the random number, from 0 to below 1. */

const FIRST_MS = 1000;
const LONGEST_MS = 15_000;

/**
 * Full jitter, so that the clients of a server that was restarted do not all come at once.
 *
 * @param {number} failures how many tries have failed before this one
 * @param {number} random
 */
export function pauseAfter(failures, random) {
  return random * Math.min(LONGEST_MS, FIRST_MS * 2 ** failures);
}

/**
 * The server has shut the door on us for what we sent: never soon.
 *
 * @param {number} random
 */
export function pauseAfterMisconduct(random) {
  return LONGEST_MS * (1 + random);
}
