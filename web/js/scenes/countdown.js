/** The time that is left of a stage, by the server's clock. */

import { make } from "../dom.js";

const TICK_MS = 200;
/** Told to who does not see it, in seconds. */
const TOLD = new Set([30, 10]);
const HURRY_SECONDS = 10;

export class Countdown {
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {import("../server-clock.js").ServerClock} clock
   * @param {{dealtAt: string, timeLimitMs: number}} stage
   * @param {{say: (seconds: number) => void, over: () => void}} listener
   */
  constructor(clock, { dealtAt, timeLimitMs }, { say, over }) {
    const end = Date.parse(dealtAt) + timeLimitMs;
    this.element = make("output", { class: "time" });
    let told = Infinity;
    const tick = () => {
      const seconds = Math.max(0, Math.ceil((end - clock.now()) / 1000));
      this.element.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
      this.element.classList.toggle("hurry", seconds <= HURRY_SECONDS);
      if (TOLD.has(seconds) && seconds < told) {
        told = seconds;
        say(seconds);
      }
      if (end <= clock.now()) {
        this.stop();
        over();
      }
    };
    this.#timer = setInterval(tick, TICK_MS);
    tick();
  }

  stop() {
    clearInterval(this.#timer);
  }
}
