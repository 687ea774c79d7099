/** A picture is shown for a moment, and then drawn from memory. */

import { draw, make } from "../dom.js";
import { Sheet } from "./sheet.js";

/** @typedef {{strokes: number[][], showMs: number}} Puzzle */
/** @typedef {{strokes: number[][]}} Answer */

const SIDE = 1000;

/** @type {import("./game.js").MiniGame["play"]} */
export function play(place, { puzzle: dealt, work, texts, shownForMs, keep, say, done }) {
  const puzzle = /** @type {Puzzle} */ (dealt);
  const words = texts.games.drawing;
  /** @type {number[][]} */
  const strokes = work?.strokes ?? [];
  /** @type {Sheet | null} */
  let sheet = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const root = make("div", { class: "drawing" });
  place.append(root);
  const leftMs = puzzle.showMs - shownForMs;
  if (leftMs > 0 && strokes.length === 0) {
    const bar = make("div", { class: "vanishing" });
    root.append(make("p", { class: "phase" }, words.look), picture([puzzle.strokes], "sheet"), bar);
    bar.animate({ transform: ["scaleX(1)", "scaleX(0)"] }, { duration: leftMs, fill: "forwards" });
    say(words.look);
    timer = setTimeout(begin, leftMs);
  } else {
    begin();
  }

  function begin() {
    const undo = make("button", { type: "button", class: "button", onclick: () => sheet?.undo() }, words.undo);
    const clear = make("button", { type: "button", class: "button", onclick: () => sheet?.clear() }, words.clear);
    const finish = make("button", { type: "button", class: "button primary", onclick: done }, words.done);
    const canvas = make("canvas", { class: "sheet", tabindex: 0, role: "img", "aria-label": words.canvas });
    root.replaceChildren(
      make("p", { class: "phase" }, words.drawNow),
      canvas,
      make("div", { class: "actions" }, undo, clear, finish),
    );
    sheet = new Sheet(canvas, strokes, SIDE, () => {
      for (const button of [undo, clear, finish]) {
        button.disabled = strokes.length === 0;
      }
      keep({ strokes });
    });
    say(words.drawNow);
    canvas.focus({ preventScroll: true });
  }

  return {
    answer: () => ({ strokes }),
    stop() {
      clearTimeout(timer);
      sheet?.stop();
    },
  };
}

/** @type {import("./game.js").MiniGame["review"]} */
export function review(puzzle, answer, texts) {
  const words = texts.games.drawing;
  const original = /** @type {Puzzle} */ (puzzle).strokes;
  const drawn = fitted(/** @type {Answer} */ (answer).strokes, original);
  return [
    make(
      "div",
      { class: "side-by-side" },
      figure(picture([original], "sheet"), words.original),
      figure(picture([drawn], "sheet"), words.drawn),
      figure(picture([original, drawn], "sheet laid"), words.together),
    ),
  ];
}

/**
 * @param {Node} content
 * @param {string} caption
 */
function figure(content, caption) {
  return make("figure", {}, content, make("figcaption", {}, caption));
}

/**
 * @param {number[][][]} layers strokes each
 * @param {string} name
 */
function picture(layers, name) {
  return draw(
    "svg",
    { viewBox: `0 0 ${SIDE} ${SIDE}`, class: name, "aria-hidden": "true" },
    ...layers.map((strokes, layer) =>
      draw("g", { class: `layer-${layer}` }, ...strokes.map((stroke) => draw("polyline", { points: pointsOf(stroke) }))),
    ),
  );
}

/** @param {number[]} stroke */
function pointsOf(stroke) {
  // A single point is drawn as a line to itself, which a round cap makes a dot.
  return (stroke.length === 2 ? [...stroke, ...stroke] : stroke).join(" ");
}

/**
 * The drawing as large as the original and in its place: neither matters to the comparison.
 *
 * @param {number[][]} strokes
 * @param {number[][]} original
 */
function fitted(strokes, original) {
  const [from, to] = [boxOf(strokes), boxOf(original)];
  if (from === null || to === null) {
    return strokes;
  }
  const scale = Math.max(to.width, to.height) / Math.max(from.width, from.height, 1);
  return strokes.map((stroke) =>
    stroke.map((number, at) =>
      Math.round(at % 2 === 0 ? to.x + (number - from.x) * scale : to.y + (number - from.y) * scale),
    ),
  );
}

/**
 * The middle and the size.
 *
 * @param {number[][]} strokes
 */
function boxOf(strokes) {
  const xs = strokes.flatMap((stroke) => stroke.filter((_, at) => at % 2 === 0));
  const ys = strokes.flatMap((stroke) => stroke.filter((_, at) => at % 2 === 1));
  if (xs.length === 0) {
    return null;
  }
  const [left, right, top, bottom] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  return { x: (left + right) / 2, y: (top + bottom) / 2, width: right - left, height: bottom - top };
}
