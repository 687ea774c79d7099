/**
 * What the client takes from its surroundings. Tests bring their own; so may a program where there is no global
 * WebSocket.
 *
 * @typedef {object} World
 * @property {new (url: string, protocols: string) => WebSocket} WebSocket
 * @property {() => number} random from 0 to below 1
 * @property {() => string} uuid a new one each time, that nobody can guess
 * @property {() => number} now in ms since 1970
 * @property {(callback: () => void, milliseconds: number) => any} setTimeout
 * @property {(timer: any) => void} clearTimeout
 * @property {SharedTokens} shared
 *
 * A refresh token is good for one use. Where several clients go by the same kept tokens (tabs of a browser), they agree
 * by this on who uses it: `alone` runs a job while no other client runs one, `newest` is what any of them has kept last.
 *
 * @typedef {object} SharedTokens
 * @property {() => import("./login.js").Tokens | null} newest
 * @property {<T>(job: () => Promise<T>) => Promise<T>} alone
 */

/**
 * @param {Partial<World>} [given] instead of the real ones
 * @returns {World}
 */
export function makeWorld(given = {}) {
  return {
    WebSocket: globalThis.WebSocket,
    random: Math.random,
    uuid,
    // Looked up at each call, and called as functions of the global object, as browsers want it.
    now: () => Date.now(),
    setTimeout: (callback, milliseconds) => globalThis.setTimeout(callback, milliseconds),
    clearTimeout: (timer) => globalThis.clearTimeout(timer),
    shared: { newest: () => null, alone: (job) => job() },
    ...given,
  };
}

/** A page without TLS, on a classroom's network say, has no `crypto.randomUUID`. */
function uuid() {
  if (crypto.randomUUID !== undefined) {
    return crypto.randomUUID();
  }
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
