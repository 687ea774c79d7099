/** Mental arithmetic against the clock. */

import { make } from "../dom.js";
import { follow, solve } from "./arithmetic.js";

/** @typedef {import("./arithmetic.js").Sums} Puzzle */

/** As long as any result, and one more to see that it is wrong. */
const DIGITS = 5;

/** @type {import("./game.js").MiniGame["play"]} */
export function play(place, { puzzle: dealt, work, texts, keep, say }) {
  const puzzle = /** @type {Puzzle} */ (dealt);
  const words = texts.games.sums;
  /** @type {(number | null)[]} */
  const results = work?.results ?? [];
  let typed = "";
  let isWaiting = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  const sum = make("p", { class: "sum" });
  const shown = make("output", { class: "typed", "aria-label": words.result });
  const note = make("p", { class: "note" });
  const level = make("p", { class: "level" });
  /** @type {(label: string, name: string, act: () => void, more?: string) => HTMLElement} */
  const key = (label, name, act, more = "") =>
    make("button", { type: "button", class: `key ${more}`, "aria-label": name, onclick: act }, label);
  const digit = (/** @type {number} */ number) => key(String(number), String(number), () => type(String(number)));
  place.append(
    make(
      "div",
      { class: "sums" },
      level,
      make("div", { class: "question" }, sum, shown),
      note,
      make(
        "div",
        { class: "keypad" },
        ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map(digit),
        key("⌫", words.erase, erase),
        digit(0),
        key("✓", words.enter, enter, "enter"),
      ),
      make("button", { type: "button", class: "quiet", onclick: () => settle(null) }, words.skip),
    ),
  );
  document.addEventListener("keydown", press);
  ask();

  function ask() {
    isWaiting = false;
    typed = "";
    const now = follow(puzzle, results);
    sum.textContent = `${now.sum} =`;
    shown.textContent = "";
    note.textContent = "";
    delete note.dataset.kind;
    level.textContent = words.level(now.level + 1);
    say(now.sum);
  }

  /** @param {string} character */
  function type(character) {
    if (isWaiting || typed.length >= DIGITS) {
      return;
    }
    typed += character;
    shown.textContent = typed;
    if (Number(typed) === solve(follow(puzzle, results).sum)) {
      settle(Number(typed));
    }
  }

  function erase() {
    if (!isWaiting) {
      typed = typed.slice(0, -1);
      shown.textContent = typed;
    }
  }

  function enter() {
    if (typed !== "") {
      settle(Number(typed));
    }
  }

  /** @param {number | null} result null: skipped */
  function settle(result) {
    if (isWaiting) {
      return;
    }
    const solution = solve(follow(puzzle, results).sum);
    isWaiting = true;
    results.push(result);
    keep({ results });
    const isRight = result === solution;
    note.dataset.kind = isRight ? "right" : "wrong";
    note.textContent = isRight ? words.right : words.wrong(solution);
    if (!isRight) {
      say(words.wrong(solution));
    }
    timer = setTimeout(ask, isRight ? 120 : puzzle.penaltyMs);
  }

  /** @param {KeyboardEvent} event */
  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) {
      return;
    }
    if (/^[0-9]$/.test(event.key)) {
      type(event.key);
    } else if (event.key === "Backspace") {
      erase();
    } else if (event.key === "Enter" && !(event.target instanceof HTMLButtonElement)) {
      enter();
    } else if (event.key === "s" || event.key === "S" || event.key === "і" || event.key === "І") {
      settle(null); // the same key on a Ukrainian keyboard
    }
  }

  return {
    answer: () => ({ results }),
    stop() {
      clearTimeout(timer);
      document.removeEventListener("keydown", press);
    },
  };
}

/** @type {import("./game.js").MiniGame["review"]} */
export function review(puzzle, answer, texts) {
  const { right, wrong } = follow(puzzle, answer.results);
  return [make("p", {}, texts.games.sums.summary(right, wrong))];
}
