/** Tiles light up one after the other; they are tapped again in this order. */

import { make } from "../dom.js";

/** @typedef {{tiles: number[], firstLength: number, stepMs: number}} Puzzle */
/** @typedef {{rounds: number[][]}} Answer */

const TILES = 9;
const ROUNDS = 10;
/** Share of a step that a tile is lit. */
const LIT = 0.7;
const BEFORE_ROUND_MS = 900;
const AFTER_TAP_MS = 180;

/** @type {import("./game.js").MiniGame["play"]} */
export function play(place, { puzzle: dealt, work, texts, keep, say, done }) {
  const puzzle = /** @type {Puzzle} */ (dealt);
  const words = texts.games.sequence;
  /** @type {number[][]} */
  const rounds = work?.rounds ?? [];
  /** @type {number[]} */
  let taps = [];
  let isTurn = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const phase = make("p", { class: "phase" });
  const count = make("p", { class: "count" });
  const tiles = Array.from({ length: TILES }, (_, tile) =>
    make("button", { type: "button", class: "tile", "aria-label": words.tile(tile + 1), onclick: () => tap(tile) }),
  );
  const board = make("div", { class: "tiles", role: "group", "aria-label": words.board }, ...tiles);
  place.append(make("div", { class: "sequence" }, phase, board, count));
  document.addEventListener("keydown", press);
  timer = setTimeout(showRound, 0);

  function wanted() {
    return puzzle.tiles.slice(0, puzzle.firstLength + rounds.length);
  }

  function showRound() {
    isTurn = false;
    board.dataset.phase = "watch";
    phase.textContent = words.watch;
    say(words.watch);
    count.textContent = `0 / ${wanted().length}`;
    let at = 0;
    const step = () => {
      const tile = wanted()[at];
      if (tile === undefined) {
        begin();
        return;
      }
      light(tile, puzzle.stepMs * LIT);
      say(String(tile + 1));
      at += 1;
      timer = setTimeout(step, puzzle.stepMs);
    };
    timer = setTimeout(step, BEFORE_ROUND_MS);
  }

  function begin() {
    taps = [];
    isTurn = true;
    board.dataset.phase = "repeat";
    phase.textContent = words.repeat;
    say(words.repeat);
  }

  /** @param {number} tile */
  function tap(tile) {
    if (!isTurn) {
      return;
    }
    light(tile, AFTER_TAP_MS);
    taps.push(tile);
    count.textContent = `${taps.length} / ${wanted().length}`;
    const isRight = wanted()[taps.length - 1] === tile;
    if (isRight && taps.length < wanted().length) {
      return;
    }
    isTurn = false;
    rounds.push(taps);
    taps = [];
    keep({ rounds });
    if (isRight && rounds.length < ROUNDS) {
      phase.textContent = words.right;
      timer = setTimeout(showRound, AFTER_TAP_MS * 2);
    } else {
      board.dataset.phase = isRight ? "right" : "wrong";
      timer = setTimeout(done, AFTER_TAP_MS * 3);
    }
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    const tile = Number(event.key) - 1;
    if (Number.isInteger(tile) && tile >= 0 && tile < TILES && !event.repeat && !event.ctrlKey && !event.metaKey && !event.altKey) {
      tap(tile);
    }
  }

  /**
   * @param {number} tile
   * @param {number} milliseconds
   */
  function light(tile, milliseconds) {
    const element = tiles[tile];
    element?.classList.add("lit");
    setTimeout(() => element?.classList.remove("lit"), milliseconds);
  }

  return {
    answer: () => ({ rounds: taps.length > 0 ? [...rounds, taps] : rounds }),
    stop() {
      clearTimeout(timer);
      document.removeEventListener("keydown", press);
    },
  };
}

/** @type {import("./game.js").MiniGame["review"]} */
export function review(puzzle, answer, texts) {
  const { tiles, firstLength } = /** @type {Puzzle} */ (puzzle);
  const { rounds } = /** @type {Answer} */ (answer);
  let longest = 0;
  rounds.forEach((taps, number) => {
    const wanted = tiles.slice(0, firstLength + number);
    longest = Math.max(longest, taps.length === wanted.length && taps.every((tile, at) => tile === wanted[at]) ? taps.length : 0);
  });
  return [make("p", {}, texts.games.sequence.result(longest))];
}
