/** What an operator sees of players, their sessions, and of what operators have done. */

import { make, nameOf } from "../dom.js";

/** @typedef {typeof import("../texts.en.js").default} Texts */

export class Views {
  #texts;
  #numbers;
  #time;

  /**
   * @param {Texts} texts
   * @param {string} language
   */
  constructor(texts, language) {
    this.#texts = texts;
    this.#numbers = new Intl.NumberFormat(language);
    this.#time = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
  }

  /** @param {string} at */
  time(at) {
    return make("time", { datetime: at }, this.#time.format(new Date(at)));
  }

  /** @param {{number: number, username: string | null}} player */
  who({ number, username }) {
    const name = username === null ? make("em", {}, this.#texts.admin.deleted) : nameOf(username);
    return make("span", { class: "whole-name" }, name, make("span", { class: "muted" }, ` #${number}`));
  }

  /**
   * @param {any[]} players
   * @param {(number: number) => string} addressOf
   */
  players(players, addressOf) {
    const words = this.#texts.admin;
    if (players.length === 0) {
      return make("p", { class: "muted" }, words.nobody);
    }
    return this.#table(
      words.players,
      [words.player, words.email, words.registered, words.state],
      players.map((player) => [
        make("a", { href: addressOf(player.number) }, this.who(player)),
        player.email ?? "–",
        this.time(player.registeredAt),
        this.#marks(player),
      ]),
    );
  }

  /** @param {any} player */
  #marks({ offBoards, isAdmin }) {
    const words = this.#texts.admin;
    const marks = [offBoards && words.offBoards, isAdmin && words.operator].filter(Boolean);
    return make("span", { class: offBoards ? "warned" : "" }, marks.join(", ") || "–");
  }

  /**
   * @param {any} details
   * @param {(sessionId: string) => string} addressOf
   */
  details({ player, logins, sessions, entries }, addressOf) {
    const words = this.#texts.admin;
    return [
      make(
        "dl",
        { class: "facts" },
        fact(words.email, player.email ?? "–"),
        fact(words.registered, this.time(player.registeredAt)),
        fact(words.state, this.#marks(player)),
        fact(words.logins, this.#numbers.format(logins.length)),
      ),
      this.#table(
        words.sessions,
        [words.started, words.outcome, words.difficulty, words.stage, words.points],
        sessions.map((/** @type {any} */ session) => [
          make("a", { href: addressOf(session.sessionId) }, this.time(session.startedAt)),
          words.statuses[session.status] ?? String(session.status),
          String(session.difficulty),
          `${session.stage + 1} / ${session.stageCount}`,
          this.#numbers.format(session.totalScore),
        ]),
      ),
      this.#table(
        words.entries,
        [words.board, words.points, words.achieved, words.state],
        entries.map((/** @type {any} */ entry) => [
          entry.ladder,
          this.#numbers.format(entry.totalScore) + (entry.passedAllGames ? " ★" : ""),
          this.time(entry.achievedAt),
          make("span", { class: entry.removed ? "warned" : "" }, entry.removed ? words.notShown : words.shown),
        ]),
      ),
    ];
  }

  /** @param {any[]} steps */
  steps(steps) {
    const words = this.#texts.admin;
    return this.#table(
      words.steps,
      [words.time, words.after, words.step, words.score, words.total, words.scoredBy],
      steps.map((step, at) => {
        const before = steps[at - 1];
        // The log holds the state after each step: what was completed is the game that was played before.
        const stage = step.action === "complete" && before !== undefined ? before.stage : step.stage;
        const seconds = before === undefined ? null : (Date.parse(step.at) - Date.parse(before.at)) / 1000;
        return [
          this.time(step.at),
          seconds === null ? "–" : words.seconds(this.#numbers.format(Math.round(seconds * 10) / 10)),
          `${words.actions[step.action] ?? step.action}, ${words.stage.toLowerCase()} ${stage + 1}`,
          step.score === null ? "–" : this.#numbers.format(step.score),
          this.#numbers.format(step.totalScore),
          this.#source(step),
        ];
      }),
    );
  }

  /** @param {any} step */
  #source({ score, verdict, answer }) {
    const words = this.#texts.admin;
    if (score === null) {
      return "–";
    }
    if (verdict === null) {
      return make("span", { class: "warned" }, words.byClient);
    }
    return make(
      "div",
      {},
      `${words.byServer}: ${this.#texts.verdicts[verdict]}`,
      answer !== null && make("details", {}, make("summary", {}, words.answer), make("code", {}, JSON.stringify(answer))),
    );
  }

  /** @param {any[]} acts */
  acts(acts) {
    const words = this.#texts.admin;
    if (acts.length === 0) {
      return make("p", { class: "muted" }, words.noActs);
    }
    return this.#table(
      words.acts,
      [words.time, words.operator, words.act, words.player, words.reason],
      acts.map((act) => [
        this.time(act.at),
        act.operator === null ? words.commandLine : this.who(act.operator),
        words.actNames[act.act] ?? act.act,
        this.who(act.player),
        make("bdi", { dir: "auto" }, act.reason),
      ]),
    );
  }

  /**
   * @param {string} caption
   * @param {string[]} head
   * @param {(Node | string)[][]} rows
   */
  #table(caption, head, rows) {
    return make(
      "div",
      { class: "wide", tabindex: 0, role: "region", "aria-label": caption },
      make(
        "table",
        {},
        make("caption", {}, caption),
        make("thead", {}, make("tr", {}, ...head.map((title) => make("th", { scope: "col" }, title)))),
        make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map((cell) => make("td", {}, cell))))),
      ),
    );
  }
}

/**
 * @param {string} name
 * @param {Node | string} value
 */
function fact(name, value) {
  return make("div", {}, make("dt", {}, name), make("dd", {}, value));
}
