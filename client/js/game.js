/**
 * A player's, or a spectator's, whole view of a Brain Game server: one object, one connection that comes back by itself.
 *
 * Events: `up` and `down` (the connection), `tokens` (detail: what to keep for the next visit, or null), `loggedout`
 * (detail: the ServerError that says why, or null after a logout), `session` (see `session`), `push` (detail: every
 * message that nobody asked for, of known and unknown types).
 *
 * @typedef {import("./messages.js").AuthenticatedData} AuthenticatedData
 * @typedef {import("./messages.js").SessionData} SessionData
 * @typedef {import("./messages.js").StageData} StageData
 * @typedef {import("./messages.js").UserData} UserData
 * @typedef {import("./messages.js").LeaderboardData} LeaderboardData
 * @typedef {import("./messages.js").OpenLoginData} OpenLoginData
 * @typedef {import("./socket.js").Requests} Requests
 * @typedef {import("./actions.js").ActionOptions} ActionOptions
 * @typedef {import("./deadline.js").Patience} Patience
 * @typedef {import("./login.js").Tokens} Tokens
 * @typedef {import("./world.js").World} World
 */

import { Actions } from "./actions.js";
import { BoardFeed } from "./board-feed.js";
import { within } from "./deadline.js";
import { ConnectionLost, ServerError } from "./errors.js";
import { hurryWhenSeen } from "./hurry.js";
import { Login } from "./login.js";
import { Sender } from "./sender.js";
import { newerSession } from "./session-state.js";
import { LiveSocket } from "./socket.js";
import { makeWorld } from "./world.js";

const LIMITS = [10, 25, 50, 100];
/** A request that has no outcome after this is given up, unless its caller says otherwise. */
const USUAL_TIMEOUT_MS = 30_000;

export class Game extends EventTarget {
  #world;
  #socket;
  #login;
  #sender;
  #actions;
  /** @type {Map<string, BoardFeed>} */
  #feeds = new Map();
  /** Entering: registering, logging in. */
  #entering = 0;
  #ended = new AbortController();
  /** Whose the session is. @type {string | null} */
  #owner = null;

  /**
   * Nothing happens before `open`.
   *
   * @param {string} url as `wss://host/ws`
   * @param {Partial<World>} [world] instead of the real one
   */
  constructor(url, world = {}) {
    super();
    this.#world = makeWorld(world);
    this.#socket = new LiveSocket(url, this.#world, () => this.#needsConnection());
    this.#login = new Login(this.#socket, this.#world);
    this.#sender = new Sender(this.#socket, this.#login, this.#world);
    this.#actions = new Actions(this.#sender, this.#world);
    /** The player's last session, the newest state that is known; null if there is none. @type {SessionData | null} */
    this.session = null;
    this.#listen();
  }

  /** Whether there is a connection now. What is asked without one waits for the next. */
  get connected() {
    return this.#socket.connected;
  }

  /** When the server was last heard, in ms since 1970; null if never. */
  get lastHeardAt() {
    return this.#socket.lastHeardAt;
  }

  /** Who is logged in. @returns {UserData | null} */
  get user() {
    return this.#login.user;
  }

  /** What `resume` takes at the next visit. @returns {Tokens | null} */
  get tokens() {
    return this.#login.tokens;
  }

  /** What the server allows, as `{stages, maxStageScore, …}`; null before the first connection. */
  get limits() {
    return this.#socket.welcome?.limits ?? null;
  }

  /** How many session actions have no outcome yet. */
  get pending() {
    return this.#actions.pending;
  }

  open() {
    hurryWhenSeen(this.#socket);
    this.#socket.open();
  }

  /** For good: what has no answer yet is rejected with ConnectionLost. The login lives on. */
  disconnect() {
    this.#socket.close();
    this.#ended.abort(new ConnectionLost(true));
  }

  // Who I am

  /**
   * A new account, logged in.
   *
   * @param {{email: string, username: string, password: string}} account
   * @param {Patience} [patience]
   */
  register({ email, username, password }, patience) {
    return this.#enter("auth.register", { email, username, password }, patience);
  }

  /**
   * @param {{email: string, password: string}} credentials
   * @param {Patience} [patience]
   */
  login({ email, password }, patience) {
    return this.#enter("auth.login", { email, password }, patience);
  }

  /**
   * Go on with tokens from an earlier visit. Rejects with ServerError when the server does not take them; when the time is
   * over before it could be asked, it will be asked nevertheless.
   *
   * @param {Tokens} tokens
   * @param {Patience} [patience]
   * @returns {Promise<AuthenticatedData>}
   */
  resume(tokens, patience = {}) {
    return this.#within(patience, () => this.#login.resume(tokens));
  }

  /**
   * End this login everywhere.
   *
   * @param {Patience} [patience]
   * @returns {Promise<void>}
   */
  async logout(patience = {}) {
    try {
      await this.#ask("auth.logout", {}, patience);
    } catch (error) {
      // It had ended already, maybe by a first try whose answer was lost.
      if (!(error instanceof ServerError && error.code === "unauthenticated")) {
        throw error;
      }
    }
    this.#login.forget(null);
  }

  /**
   * @param {Patience} [patience]
   * @returns {Promise<UserData>}
   */
  me(patience = {}) {
    return this.#ask("user.me", {}, patience);
  }

  /**
   * Change the password; every other login of the account ends.
   *
   * @param {{password: string, newPassword: string}} passwords
   * @param {Patience} [patience]
   * @returns {Promise<void>}
   */
  async changePassword({ password, newPassword }, patience = {}) {
    await this.#askOnce("user.password", { password, newPassword }, patience);
  }

  /**
   * For good: the name leaves every board, and this client is logged out.
   *
   * @param {Patience} [patience]
   * @returns {Promise<void>}
   */
  async deleteAccount(patience = {}) {
    await this.#askOnce("user.delete", {}, patience);
    this.#login.forget(null);
  }

  /**
   * Where the account is logged in, the newest first.
   *
   * @param {Patience} [patience]
   * @returns {Promise<OpenLoginData[]>}
   */
  async logins(patience = {}) {
    return (await this.#ask("logins.list", {}, patience)).logins;
  }

  /**
   * End one login of the account.
   *
   * @param {string} id from `logins`
   * @param {Patience} [patience]
   * @returns {Promise<void>}
   */
  async revokeLogin(id, patience = {}) {
    await this.#askOnce("logins.revoke", { id }, patience);
  }

  // What I play. Each resolves with the session when it is stored for good, however often the connection goes meanwhile.

  /**
   * A new session; one in progress is canceled.
   *
   * @param {{difficulty?: number} & ActionOptions} [options] difficulty: 0 to 9
   */
  start({ difficulty = 0, ...options } = {}) {
    return this.#act("session.start", { difficulty }, options);
  }

  /**
   * The current stage was passed.
   *
   * @param {number} score
   * @param {ActionOptions} [options]
   */
  complete(score, options = {}) {
    return this.#act("session.complete", { score }, options);
  }

  /**
   * The current stage was not passed: the session has failed (`session.close`).
   *
   * @param {number} score
   * @param {ActionOptions} [options]
   */
  fail(score, options = {}) {
    return this.#act("session.close", { score }, options);
  }

  /**
   * Give the session up; it does not count.
   *
   * @param {ActionOptions} [options]
   */
  cancel(options = {}) {
    return this.#act("session.cancel", {}, options);
  }

  // Stages that the server deals and scores

  /**
   * The current stage; its clock runs from the first time on that it is dealt, and it stays the same.
   *
   * @param {Patience} [patience]
   * @returns {Promise<StageData>}
   */
  async deal(patience = {}) {
    return this.#ask("stage.deal", {}, patience);
  }

  /**
   * Answer the stage that was dealt. Resolves with the session, `stageScore` and `verdict`.
   *
   * @param {Record<string, unknown>} answer as the game wants it
   * @param {ActionOptions} [options]
   */
  answer(answer, options = {}) {
    return this.#act("stage.answer", { answer: /** @type {any} */ (answer) }, options);
  }

  /**
   * Ask for the last session. `session` is the same without asking.
   *
   * @param {Patience} [patience]
   * @returns {Promise<SessionData | null>}
   */
  async lastSession(patience = {}) {
    const session = await this.#ask("session.last", {}, patience);
    this.#hold(session);
    return session.sessionId === null ? null : session;
  }

  // Boards

  /**
   * Follow the top of a board, until `unfollow` of what this gives. A board is followed once at a time.
   *
   * @param {string} [board] as `daily:3`
   * @param {{limit?: number}} [options] limit: 10, 25, 50 or 100 rows
   */
  follow(board = "all-time", { limit = 10 } = {}) {
    if (!LIMITS.includes(limit)) {
      throw new RangeError(`limit is one of ${LIMITS.join(", ")}`);
    }
    if (this.#feeds.has(board)) {
      throw new Error(`${board} is followed already`);
    }
    const feed = new BoardFeed(this.#socket, board, limit, this.#world);
    this.#feeds.set(board, feed);
    feed.addEventListener("unfollowed", () => this.#feeds.delete(board));
    feed.open();
    return feed;
  }

  /**
   * Read a part of a board once.
   *
   * @param {string} [board]
   * @param {{limit?: number, offset?: number, around?: "me"}} [part]
   * @param {Patience} [patience]
   * @returns {Promise<LeaderboardData>}
   */
  leaderboard(board = "all-time", part = {}, patience = {}) {
    return this.#ask("leaderboard.get", { board, ...part }, patience);
  }

  // Everything else

  /**
   * How unlike two drawings are: 0 for the same, at most 100.
   *
   * @param {string} originalImage PNG, JPEG, WebP or GIF in base64; a data: URL is fine
   * @param {string} drawnImage
   * @param {Patience} [patience]
   * @returns {Promise<number>}
   */
  async compare(originalImage, drawnImage, patience = {}) {
    if (this.tokens === null) {
      // Pictures are too long for what a spectator may send: the server would close the connection.
      throw new ServerError({ code: "unauthenticated", message: "Please log in first." });
    }
    return (await this.#ask("images.compare", { originalImage, drawnImage }, patience)).distance;
  }

  /**
   * The server's clock.
   *
   * @param {Patience} [patience]
   * @returns {Promise<string>} RFC 3339, UTC
   */
  async ping(patience = {}) {
    return (await this.#ask("ping", {}, patience)).serverTime;
  }

  // How

  #listen() {
    this.#socket.addEventListener("push", (event) => {
      const { type, data } = /** @type {CustomEvent} */ (event).detail;
      if (type === "session") {
        this.#hold(data);
      }
    });
    this.#login.addEventListener("authenticated", (event) => {
      const { user, session } = /** @type {CustomEvent<AuthenticatedData>} */ (event).detail;
      this.#belongTo(user.id, new ServerError({ code: "unauthenticated", message: "Somebody else has logged in." }));
      this.#hold(session);
    });
    this.#login.addEventListener("loggedout", (event) => {
      const why = /** @type {CustomEvent<ServerError | null>} */ (event).detail;
      this.#belongTo(null, why ?? new ServerError({ code: "unauthenticated", message: "Logged out." }));
    });
    // After our own, so that whoever hears an event finds everything as it is.
    for (const type of ["up", "down", "push"]) {
      this.#socket.addEventListener(type, (event) => this.#pass(event));
    }
    for (const type of ["tokens", "loggedout"]) {
      this.#login.addEventListener(type, (event) => this.#pass(event));
    }
  }

  /**
   * Nothing of one player may be taken for another's.
   *
   * @param {string | null} owner
   * @param {ServerError} why what actions of the player before are rejected with
   */
  #belongTo(owner, why) {
    if (this.#owner !== null && this.#owner !== owner) {
      this.#actions.stop(why);
      this.#feeds.forEach((feed) => feed.forgetPlace());
      if (this.session !== null) {
        this.session = null;
        this.dispatchEvent(new Event("session"));
      }
    }
    this.#owner = owner;
  }

  /** @param {SessionData | null | undefined} session */
  #hold(session) {
    const newest = newerSession(this.session, session);
    if (newest !== this.session) {
      this.session = newest;
      this.dispatchEvent(new Event("session"));
    }
  }

  /** @param {Event} event */
  #pass(event) {
    this.dispatchEvent(new CustomEvent(event.type, { detail: /** @type {CustomEvent} */ (event).detail }));
  }

  #needsConnection() {
    const isFollowed = this.#feeds.size > 0;
    return isFollowed || this.tokens !== null || this.#entering > 0 || this.#sender.isWaiting;
  }

  /**
   * @param {"auth.register" | "auth.login"} type
   * @param {Requests["auth.register"] | Requests["auth.login"]} data
   * @param {Patience} [patience]
   * @returns {Promise<AuthenticatedData>}
   */
  async #enter(type, data, patience = {}) {
    this.#entering += 1;
    try {
      return await this.#within(patience, (signal) => this.#login.enter(type, data, signal));
    } finally {
      this.#entering -= 1;
    }
  }

  /**
   * @template {import("./actions.js").ActionType} T
   * @param {T} type
   * @param {Omit<Requests[T], "key">} data
   * @param {ActionOptions} options
   */
  async #act(type, data, options) {
    const signal = this.#any(options.signal);
    try {
      const session = await this.#actions.act(type, data, { ...options, signal });
      this.#hold(session);
      return session;
    } catch (error) {
      if (error instanceof ServerError) {
        this.#hold(error.session);
      }
      throw error;
    }
  }

  /**
   * For what may be done twice, or only reads.
   *
   * @template {keyof Requests} T
   * @param {T} type
   * @param {Requests[T]} data
   * @param {Patience} patience
   */
  #ask(type, data, patience) {
    return this.#within(patience, (signal) => this.#sender.send(type, data, { signal, repeat: true }));
  }

  /**
   * For what may not: when its answer is lost, the caller has to look what became of it.
   *
   * @template {keyof Requests} T
   * @param {T} type
   * @param {Requests[T]} data
   * @param {Patience} patience
   */
  #askOnce(type, data, patience) {
    return this.#within(patience, (signal) => this.#sender.send(type, data, { signal, repeat: false }));
  }

  /**
   * @template T
   * @param {Patience} patience
   * @param {(signal: AbortSignal) => Promise<T>} job
   */
  #within({ signal, timeoutMs = USUAL_TIMEOUT_MS }, job) {
    return within({ signal: this.#any(signal), timeoutMs }, this.#world, job);
  }

  /** @param {AbortSignal} [signal] */
  #any(signal) {
    return signal === undefined ? this.#ended.signal : AbortSignal.any([signal, this.#ended.signal]);
  }
}
