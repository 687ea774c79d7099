/** Draws a board into a list: one row a player, which slides to its new place and lights up when its score changes. */

const SLIDE_MS = 260;
const GLOW_MS = 900;

export class BoardView {
  #list;
  #texts;
  #rows = new Map();
  #numbers = new Intl.NumberFormat(document.documentElement.lang);
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  constructor(list, texts) {
    this.#list = list;
    this.#texts = texts;
  }

  /** Show these entries, best first. */
  show(entries) {
    const before = new Map([...this.#rows].map(([number, row]) => [number, row.element.getBoundingClientRect().top]));
    const first = this.#rows.size === 0;
    const kept = new Set(entries.map((entry) => entry.number));
    for (const [number, row] of this.#rows) {
      if (!kept.has(number)) {
        row.element.remove();
        this.#rows.delete(number);
      }
    }
    this.#list.querySelectorAll("[data-placeholder]").forEach((row) => row.remove());
    const changed = entries.filter((entry, index) => this.#place(entry, index));
    if (entries.length === 0) {
      this.#sayEmpty();
    } else if (!first && !this.#still.matches) {
      this.#animate(before, changed);
    }
  }

  /** Put the entry's row in its place; true when its score is new. */
  #place(entry, index) {
    let row = this.#rows.get(entry.number);
    if (row === undefined) {
      row = this.#make(entry);
      this.#rows.set(entry.number, row);
    }
    const changed = row.score !== entry.totalScore;
    row.score = entry.totalScore;
    row.position.textContent = String(index + 1);
    row.points.textContent = this.#numbers.format(entry.totalScore);
    row.mark.hidden = !entry.passedAllGames;
    if (this.#list.children[index] !== row.element) {
      this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    }
    return changed;
  }

  #make(entry) {
    const element = document.createElement("li");
    element.className = "row";
    element.dataset.number = String(entry.number);
    const position = make(element, "span", "position");
    const who = make(element, "span", "who");
    // Isolated, so that a name written from right to left does not turn what is around it.
    const name = make(who, "bdi", "name");
    name.textContent = entry.username;
    name.title = entry.username;
    make(who, "span", "tag").textContent = `#${entry.number}`;
    const mark = make(element, "span", "mark");
    mark.textContent = "★";
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", this.#texts.passedAll);
    mark.title = this.#texts.passedAll;
    const points = make(element, "span", "points");
    return { element, position, mark, points, score: null };
  }

  #animate(before, changed) {
    for (const [number, { element }] of this.#rows) {
      element.getAnimations().forEach((animation) => animation.cancel());
      const from = before.get(number);
      if (from === undefined) {
        element.animate({ opacity: [0, 1] }, { duration: SLIDE_MS, easing: "ease-out" });
        continue;
      }
      const moved = from - element.getBoundingClientRect().top;
      if (Math.abs(moved) > 0.5) {
        element.animate(
          { transform: [`translateY(${moved}px)`, "none"] },
          { duration: SLIDE_MS, easing: "cubic-bezier(0.2, 0, 0, 1)" },
        );
      }
    }
    const glow = getComputedStyle(this.#list).getPropertyValue("--glow");
    for (const entry of changed) {
      this.#rows.get(entry.number).points.animate(
        { backgroundColor: [glow, "transparent"] },
        { duration: GLOW_MS, easing: "ease-out" },
      );
    }
  }

  #sayEmpty() {
    const row = document.createElement("li");
    row.className = "empty";
    row.dataset.placeholder = "";
    row.textContent = this.#texts.empty;
    this.#list.append(row);
  }
}

function make(parent, tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}
