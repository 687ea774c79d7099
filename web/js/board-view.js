/** Draws a board into a list: one row a player, which slides to its new place and lights up when its score changes. */

/** @typedef {import("/client/board-state.js").Entry} Entry */

const SLIDE_MS = 260;
const GLOW_MS = 1200;
/** So many places are drawn even when nobody has taken them; a longer board grows with its players. */
const MOST_OPEN_PLACES = 25;

export class BoardView {
  #list;
  #texts;
  #numbers;
  #places;
  /** By registration number, which never changes. @type {Map<number, Row>} */
  #rows = new Map();
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  /**
   * @param {HTMLElement} list
   * @param {typeof import("./texts.en.js").default} texts
   * @param {Intl.NumberFormat} numbers
   * @param {number} limit
   */
  constructor(list, texts, numbers, limit) {
    this.#list = list;
    this.#texts = texts;
    this.#numbers = numbers;
    this.#places = Math.min(limit, MOST_OPEN_PLACES);
    list.style.setProperty("--rows", String(this.#places));
    while (list.childElementCount < this.#places) {
      list.append(makeOpenPlace("open skeleton"));
    }
  }

  /**
   * Show these entries, best first.
   *
   * @param {Entry[]} entries
   */
  show(entries) {
    const before = new Map([...this.#rows].map(([number, row]) => [number, row.top]));
    const wasLoaded = this.#list.getAttribute("aria-busy") !== "true";
    this.#list.setAttribute("aria-busy", "false");
    for (const place of this.#list.querySelectorAll(":scope > .open, :scope > .empty")) {
      place.remove();
    }
    const kept = new Set(entries.map(({ number }) => number));
    for (const [number, row] of this.#rows) {
      if (!kept.has(number)) {
        row.element.remove();
        this.#rows.delete(number);
      }
    }
    const changed = entries.filter((entry, index) => this.#place(entry, index));
    this.#fillUp(entries.length);
    if (wasLoaded) {
      if (!this.#still.matches) {
        this.#slide(before);
      }
      for (const { number } of changed) {
        this.#rows.get(number)?.lightUp(this.#still.matches);
      }
    }
  }

  /**
   * Put the entry's row in its place; true when its score is new.
   *
   * @param {Entry} entry
   * @param {number} index
   */
  #place(entry, index) {
    let row = this.#rows.get(entry.number);
    if (row === undefined) {
      row = new Row(entry.number, this.#texts.passedAll);
      this.#rows.set(entry.number, row);
    }
    const changed = row.write(entry, index + 1, this.#numbers);
    if (this.#list.children[index] !== row.element) {
      this.#list.insertBefore(row.element, this.#list.children[index] ?? null);
    }
    return changed;
  }

  /** @param {number} taken */
  #fillUp(taken) {
    if (taken === 0) {
      const item = make(this.#list, "li", "empty");
      make(item, "strong", "").textContent = this.#texts.emptyTitle;
      make(item, "span", "").textContent = this.#texts.emptyText;
      return;
    }
    for (let position = taken + 1; position <= this.#places; position += 1) {
      const place = makeOpenPlace("open");
      make(place, "span", "vacancy").textContent = String(position);
      this.#list.append(place);
    }
  }

  /** @param {Map<number, number>} before where the rows were, as they were seen: maybe still on their way */
  #slide(before) {
    for (const row of this.#rows.values()) {
      row.stop();
    }
    // Read all, then write all: one layout.
    const moves = [...this.#rows].map(([number, row]) => ({ row, from: before.get(number), to: row.top }));
    for (const { row, from, to } of moves) {
      if (from === undefined) {
        row.appear();
      } else if (Math.abs(from - to) > 0.5) {
        row.slide(from - to);
      }
    }
  }
}

class Row {
  /** @type {number | null} */
  #score = null;
  #position;
  #name;
  #mark;
  #points;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #light;

  /**
   * @param {number} number
   * @param {string} passedAll
   */
  constructor(number, passedAll) {
    this.element = document.createElement("li");
    this.element.className = "row";
    this.element.dataset.number = String(number);
    this.#position = make(this.element, "span", "position");
    const who = make(this.element, "span", "who");
    // Isolated, so that a name written from right to left does not turn what is around it.
    this.#name = make(who, "bdi", "name");
    this.#name.dir = "auto";
    make(who, "span", "tag").textContent = `#${number}`;
    this.#mark = make(this.element, "span", "mark");
    this.#mark.textContent = "★";
    this.#mark.title = passedAll;
    this.#mark.setAttribute("role", "img");
    this.#mark.setAttribute("aria-label", passedAll);
    this.#points = make(this.element, "span", "points");
  }

  get top() {
    return this.element.getBoundingClientRect().top;
  }

  /**
   * @param {Entry} entry
   * @param {number} position
   * @param {Intl.NumberFormat} numbers
   * @returns {boolean} whether the score is new
   */
  write(entry, position, numbers) {
    const changed = this.#score !== entry.totalScore;
    this.#score = entry.totalScore;
    this.#position.textContent = String(position);
    this.#name.textContent = entry.username;
    this.#name.title = entry.username;
    this.#mark.hidden = !entry.passedAllGames;
    this.#points.textContent = numbers.format(entry.totalScore);
    return changed;
  }

  stop() {
    for (const animation of this.element.getAnimations()) {
      animation.cancel();
    }
  }

  appear() {
    this.element.animate({ opacity: [0, 1] }, { duration: SLIDE_MS, easing: "ease-out" });
  }

  /** @param {number} distance from where it was, in px; who climbs passes over the others */
  slide(distance) {
    const layer = distance > 0 ? 2 : 1;
    this.element.animate(
      { transform: [`translateY(${distance}px)`, "none"], zIndex: [layer, layer] },
      { duration: SLIDE_MS, easing: "cubic-bezier(0.2, 0, 0, 1)" },
    );
  }

  /** @param {boolean} still light goes on and off, but nothing fades */
  lightUp(still) {
    const points = this.#points;
    if (still) {
      clearTimeout(this.#light);
      points.classList.add("changed");
      this.#light = setTimeout(() => points.classList.remove("changed"), GLOW_MS);
      return;
    }
    const glow = getComputedStyle(points).getPropertyValue("--glow");
    points.animate({ backgroundColor: [glow, glow, "transparent"] }, { duration: GLOW_MS, easing: "ease-in" });
  }
}

/** @param {string} className */
function makeOpenPlace(className) {
  const place = document.createElement("li");
  place.className = className;
  place.setAttribute("aria-hidden", "true");
  return place;
}

/**
 * @param {HTMLElement} parent
 * @param {string} tag
 * @param {string} className
 */
function make(parent, tag, className) {
  const element = document.createElement(tag);
  element.className = className;
  parent.append(element);
  return element;
}
