/** A small chart: the newest values in large, and lines of the last five minutes. */

import { draw, make } from "../dom.js";

const [WIDTH, HEIGHT] = [300, 72];

/**
 * @typedef {{name: string, of: (sample: any) => number | null}} Line
 */

export class Chart {
  #lines;
  #format;
  #plot;
  #max;
  /** @type {HTMLElement[]} */
  #values;
  #length;

  /**
   * @param {string} title
   * @param {Line[]} lines at most two; the second is dashed
   * @param {(value: number) => string} format
   * @param {number} length how many samples the chart is wide
   */
  constructor(title, lines, format, length) {
    this.#lines = lines;
    this.#format = format;
    this.#length = length;
    this.#values = lines.map(() => make("dd", {}, "–"));
    this.#max = make("p", { class: "most" });
    this.#plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.element = make(
      "section",
      { class: "card chart", "aria-label": title },
      make("h2", {}, title),
      make(
        "dl",
        {},
        ...lines.map(({ name }, at) => make("div", { class: `line-${at}` }, make("dt", {}, name), this.#values[at])),
      ),
      this.#plot,
      this.#max,
    );
  }

  /** @param {any[]} samples the newest last */
  show(samples) {
    const rows = this.#lines.map(({ of }) => samples.slice(-this.#length).map(of));
    const most = Math.max(1, ...rows.flat().map((value) => value ?? 0));
    rows.forEach((values, at) => {
      const newest = values.findLast((value) => value !== null);
      const cell = /** @type {HTMLElement} */ (this.#values[at]);
      cell.textContent = newest == null ? "–" : this.#format(newest);
    });
    this.#max.textContent = `↑ ${this.#format(most)}`;
    this.#plot.replaceChildren(
      ...rows.map((values, at) => draw("path", { d: pathOf(values, most, this.#length), class: `line-${at}` })),
    );
  }
}

/**
 * From the right, where now is; a value that is not there leaves a gap.
 *
 * @param {(number | null)[]} values
 * @param {number} most
 * @param {number} length
 */
export function pathOf(values, most, length) {
  let [path, isDrawing] = ["", false];
  values.forEach((value, at) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const x = WIDTH - ((values.length - 1 - at) / (length - 1)) * WIDTH;
    const y = HEIGHT - 2 - (value / most) * (HEIGHT - 4);
    path += `${isDrawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    if (!isDrawing) {
      path += `h0.1`; // a single value is a dot
    }
    isDrawing = true;
  });
  return path;
}
