/**
 * How long somebody wants to wait.
 *
 * @typedef {{signal?: AbortSignal, timeoutMs?: number}} Patience without either: for ever
 * @typedef {import("./world.js").World} World
 */

/**
 * Do the job until it is done, or the patience is over: then rejects at once with the signal's reason, or with a
 * `TimeoutError` (a DOMException, as from `AbortSignal.timeout`).
 *
 * @template T
 * @param {Patience} patience
 * @param {World} world
 * @param {(signal: AbortSignal) => Promise<T>} job
 * @returns {Promise<T>}
 */
export function within({ signal, timeoutMs }, world, job) {
  const ended = new AbortController();
  /** @type {any} */
  let timer;
  const abort = () => ended.abort(signal?.reason);
  const late = () => ended.abort(new DOMException("The answer did not come in time.", "TimeoutError"));
  if (signal?.aborted) {
    return Promise.reject(signal.reason);
  }
  signal?.addEventListener("abort", abort);
  if (timeoutMs !== undefined && timeoutMs !== Infinity) {
    timer = world.setTimeout(late, timeoutMs);
  }
  return /** @type {Promise<T>} */ (
    new Promise((resolve, reject) => {
      ended.signal.addEventListener("abort", () => reject(ended.signal.reason));
      job(ended.signal).then(resolve, reject);
    })
  ).finally(() => {
    world.clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  });
}

/**
 * Resolves after so many milliseconds, or as soon as nobody waits any more.
 *
 * @param {number} milliseconds
 * @param {World} world
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function pause(milliseconds, world, signal) {
  return new Promise((resolve) => {
    const timer = world.setTimeout(done, milliseconds);
    signal?.addEventListener("abort", done);
    function done() {
      world.clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    }
  });
}
