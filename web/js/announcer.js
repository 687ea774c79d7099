/** Tells a screen reader the latest, but not at every change. */

const PAUSE_MS = 15_000;

export class Announcer {
  #element;
  #text = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #pause;

  /** @param {HTMLElement} element a live region */
  constructor(element) {
    this.#element = element;
  }

  /** @param {string} text */
  say(text) {
    this.#text = text;
    if (this.#pause === undefined && this.#element.textContent !== text) {
      this.#element.textContent = text;
      this.#pause = setTimeout(() => {
        this.#pause = undefined;
        this.say(this.#text);
      }, PAUSE_MS);
    }
  }
}
