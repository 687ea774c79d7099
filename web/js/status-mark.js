/** Says whether what is shown is live, or since when it is not. */

/** An interruption shorter than this is nobody's concern. */
const GRACE_MS = 1000;

export class StatusMark {
  #element;
  #texts;
  #language;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #grace;

  /**
   * @param {HTMLElement} element
   * @param {typeof import("./texts.en.js").default} texts
   * @param {string} language
   */
  constructor(element, texts, language) {
    this.#element = element;
    this.#texts = texts;
    this.#language = language;
  }

  live() {
    clearTimeout(this.#grace);
    this.#grace = undefined;
    this.#show("live", this.#texts.live);
  }

  /** @param {number | null} since when the server was last heard, in ms since 1970; null if nothing has come yet */
  stale(since) {
    if (this.#element.dataset.state === "stale") {
      this.#showStale(since);
    } else {
      this.#grace ??= setTimeout(() => this.#showStale(since), GRACE_MS);
    }
  }

  /** @param {number | null} since */
  #showStale(since) {
    this.#show("stale", since === null ? this.#texts.unreachable : this.#texts.notLiveSince(this.#format(since)));
  }

  /** @param {number} since */
  #format(since) {
    const time = new Date(since);
    const today = time.toDateString() === new Date().toDateString();
    return time.toLocaleString(this.#language, {
      ...(!today && { day: "numeric", month: "short" }),
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
    });
  }

  /**
   * @param {string} state
   * @param {string} text
   */
  #show(state, text) {
    this.#element.dataset.state = state;
    if (this.#element.textContent !== text) {
      this.#element.textContent = text; // only when it differs: a screen reader reads each change
    }
  }
}
