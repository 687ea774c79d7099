/** Where the player stands: today's place while playing, and all three boards at the end. They move as others play. */

import { make, nameOf } from "../dom.js";

/** @typedef {typeof import("../texts.en.js").default} Texts */
/** @typedef {import("/client/game.js").Game} Game */
/** @typedef {import("/client/board-feed.js").BoardFeed} BoardFeed */
/** @typedef {import("../board-name.js").Period} Period */

/** @type {Period[]} */
const PERIODS = ["daily", "weekly", "all-time"];
const ROWS_AROUND = 5;
/** Finished and failed. */
const COUNTING = new Set([1, 2]);

export class Places {
  #game;
  #texts;
  #numbers;
  /** @type {Map<Period, BoardFeed>} */
  #feeds = new Map();

  /**
   * @param {Game} game
   * @param {Texts} texts
   * @param {Intl.NumberFormat} numbers
   */
  constructor(game, texts, numbers) {
    this.#game = game;
    this.#texts = texts;
    this.#numbers = numbers;
  }

  /** For as long as somebody is logged in. */
  follow() {
    if (this.#feeds.size === 0) {
      for (const period of PERIODS) {
        this.#feeds.set(period, this.#game.follow(period, { limit: period === "daily" ? 100 : 10 }));
      }
    }
  }

  unfollow() {
    this.#feeds.forEach((feed) => feed.unfollow());
    this.#feeds.clear();
  }

  /** Today's place in a few characters, live. */
  chip() {
    const shown = make("output", { class: "place" }, this.#texts.noPlace);
    const feed = this.#feeds.get("daily");
    const write = () => {
      const position = feed?.place?.position;
      const text = position == null ? this.#texts.noPlace : `#${this.#numbers.format(position)}`;
      if (shown.textContent !== text) {
        shown.textContent = text;
        shown.animate?.({ opacity: [0.2, 1] }, { duration: 250 });
      }
    };
    this.#listen(feed, shown, write);
    return shown;
  }

  /**
   * What finishing with these points would lead to, and who is just above; live.
   *
   * @param {number} points
   */
  outlook(points) {
    const root = make("p", { class: "outlook" });
    const feed = this.#feeds.get("daily");
    const own = this.#game.user?.number;
    const write = () => {
      const above = (feed?.state?.entries ?? []).filter(
        (entry) => entry.number !== own && entry.passedAllGames && entry.totalScore >= points,
      );
      const next = above.at(-1);
      root.replaceChildren(
        this.#texts.wouldBe(this.#numbers.format(above.length + 1)),
        " ",
        next === undefined ? this.#texts.aheadOfAll : "",
        ...(next === undefined
          ? []
          : [this.#texts.toNext(this.#numbers.format(next.totalScore - points + 1)), " ", nameOf(next.username), "."]),
      );
    };
    this.#listen(feed, root, write);
    return root;
  }

  /** The three places, and the rows around the player's own today; live. */
  all() {
    const root = make("section", { class: "places", "aria-labelledby": "places-title" });
    // Who has just played is on all of them, and is told where in a moment.
    const counts = COUNTING.has(Number(this.#game.session?.sessionStatus));
    const unknown = counts ? "…" : this.#texts.notPlaced;
    const cells = PERIODS.map((period) => {
      const feed = this.#feeds.get(period);
      const shown = make("dd", {}, unknown);
      this.#listen(feed, root, () => {
        const [position, total] = [feed?.place?.position, feed?.place?.total ?? 0];
        shown.textContent =
          position == null
            ? unknown
            : this.#texts.placeOf(this.#numbers.format(position), this.#numbers.format(total));
      });
      return make("div", {}, make("dt", {}, this.#texts.board[period]), shown);
    });
    const around = make("ol", { class: "around", role: "list" });
    let round = 0;
    this.#listen(this.#feeds.get("daily"), root, async () => {
      round += 1;
      const mine = round;
      try {
        const { entries } = await this.#game.leaderboard("daily", { limit: ROWS_AROUND, around: "me" });
        if (mine === round) {
          around.replaceChildren(...(entries ?? []).map((entry) => this.#row(entry)));
        }
      } catch {
        // What is shown stays until the next change.
      }
    });
    root.append(make("h2", { id: "places-title" }, this.#texts.places), make("dl", { class: "three" }, ...cells), around);
    return root;
  }

  /** @param {import("/client/messages.js").RankedEntryData} entry */
  #row({ position, username, totalScore, number }) {
    const isOwn = number === this.#game.user?.number;
    return make(
      "li",
      { class: isOwn ? "own" : "", "aria-current": isOwn },
      make("span", { class: "position" }, this.#numbers.format(position)),
      make("span", { class: "who" }, nameOf(username)),
      make("span", { class: "points" }, this.#numbers.format(totalScore)),
    );
  }

  /**
   * Now, and at each change for as long as the element is in the page.
   *
   * @param {BoardFeed | undefined} feed
   * @param {HTMLElement} element
   * @param {() => void} write
   */
  #listen(feed, element, write) {
    const ended = new AbortController();
    let wasShown = false;
    const again = () => {
      if (wasShown && !element.isConnected) {
        ended.abort();
        return;
      }
      wasShown = element.isConnected;
      write();
    };
    feed?.addEventListener("place", again, { signal: ended.signal });
    feed?.addEventListener("state", again, { signal: ended.signal });
    write();
  }
}
