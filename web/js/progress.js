/** What was done of a stage is kept with the tab, so that neither a reload nor a lost connection takes it away. */

const KEY = "braingame.progress";

/**
 * @typedef {{stage: string, key: string, work: unknown}} Kept `stage` says which one of which session; `key` is that of the
 *   answer, drawn before it is sent for the first time
 */

/** @param {{sessionId: string, stage: number}} dealt */
export function nameOfStage({ sessionId, stage }) {
  return `${sessionId}/${stage}`;
}

/**
 * @param {string} stage
 * @returns {Kept | null}
 */
export function kept(stage) {
  try {
    const found = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return found?.stage === stage ? found : null;
  } catch {
    return null;
  }
}

/** @param {Kept} progress */
export function keep(progress) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(progress));
  } catch {
    // Storage may be switched off or full; then a reload begins the stage anew.
  }
}

export function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // Nothing was kept, then.
  }
}
