/** Close codes that a client has to tell apart (docs/protocol.md, "Errors"). Pure. */

/** The token has expired, or its login has ended. */
export const LOGIN_ENDED = 4401;
/** Neither authenticated nor subscribed in time. */
export const IDLE = 4408;
/** A connection that went without a word, as browsers count it (RFC 6455, 7.1.5). */
export const LOST = 1006;

/** binary, not UTF-8, too big, malformed, flooding: what we sent was wrong, and the same again would be, too. */
const MISCONDUCT = new Set([1003, 1007, 1009, 4400, 4429]);

/** @param {number} code */
export function isMisconduct(code) {
  return MISCONDUCT.has(code);
}
