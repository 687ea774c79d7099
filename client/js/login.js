/**
 * Who the player is, on every connection: shows the server the tokens, and renews them in time.
 *
 * Events: `authenticated` (detail: the reply's data), `tokens` (detail: the tokens to keep, or null), `loggedout` (detail:
 * the ServerError that says why, or null after a logout), `settled` (nothing is under way: others may send).
 *
 * @typedef {import("./messages.js").AuthenticatedData} AuthenticatedData
 * @typedef {import("./messages.js").UserData} UserData
 * @typedef {import("./world.js").World} World
 * @typedef {{token?: string, tokenExpiresAt?: string, refreshToken?: string}} Tokens what an app keeps; one of the two
 *   tokens is enough
 */

import { pauseAfter } from "./backoff.js";
import { LOGIN_ENDED } from "./close-codes.js";
import { pause } from "./deadline.js";
import { ConnectionLost, ServerError } from "./errors.js";

/** These say that a token is good for nothing. Anything else may pass, and costs nobody a login. */
const REFUSALS = new Set(["unauthenticated", "token_expired", "token_revoked", "invalid"]);

export class Login extends EventTarget {
  #socket;
  #world;
  /** Things under way that decide whose connection this is. */
  #held = 0;
  /** Counts the tries to become somebody: only the newest one goes on. */
  #attempt = 0;
  /** One exchange at a time: the answers would not say which one came last. @type {Promise<unknown>} */
  #exchange = Promise.resolve();
  /** The access token was refused, or will be. */
  #isTokenSpent = false;
  /** Who waits for `resume`. @type {{resolve: (data: AuthenticatedData) => void, reject: (error: Error) => void} | null} */
  #resuming = null;

  /**
   * @param {import("./socket.js").LiveSocket} socket
   * @param {World} world
   */
  constructor(socket, world) {
    super();
    this.#socket = socket;
    this.#world = world;
    /** @type {Tokens | null} */
    this.tokens = null;
    /** @type {UserData | null} */
    this.user = null;
    socket.addEventListener("up", () => this.prove());
    socket.addEventListener("down", (event) => {
      this.#isTokenSpent ||= /** @type {CustomEvent} */ (event).detail === LOGIN_ENDED;
    });
    socket.addEventListener("push", (event) => {
      if (/** @type {CustomEvent} */ (event).detail.type === "auth.expiring") {
        this.#renew();
      }
    });
  }

  /** Whether it is clear whose connection this is: what is sent now is done for `user`. */
  get settled() {
    return this.#held === 0;
  }

  /**
   * Register or log in. Rejects with ServerError, or ConnectionLost when the answer was lost.
   *
   * @param {"auth.register" | "auth.login"} type
   * @param {any} data
   * @param {AbortSignal} signal nobody waits any more
   * @returns {Promise<AuthenticatedData>}
   */
  async enter(type, data, signal) {
    this.#held += 1;
    try {
      for (;;) {
        await this.#connection(signal);
        signal.throwIfAborted();
        try {
          return await this.#alone(async () => {
            const reply = await this.#socket.request(type, data);
            this.#supersede(new DOMException("Somebody has logged in meanwhile.", "AbortError"));
            this.#accept(reply, {});
            return reply;
          });
        } catch (error) {
          if (!(error instanceof ConnectionLost) || error.sent) {
            throw error;
          }
        }
      }
    } finally {
      this.#release();
    }
  }

  /**
   * Go on with a login. Rejects with ServerError when the server refuses the tokens; until it has answered, each new
   * connection tries again.
   *
   * @param {Tokens} tokens
   * @returns {Promise<AuthenticatedData>}
   */
  resume({ token, tokenExpiresAt, refreshToken }) {
    this.#supersede(new DOMException("Other tokens are tried meanwhile.", "AbortError"));
    this.tokens = { token, tokenExpiresAt, refreshToken };
    this.#isTokenSpent = false;
    const outcome = new Promise((resolve, reject) => {
      this.#resuming = { resolve, reject };
    });
    this.#socket.wake();
    this.prove();
    return outcome;
  }

  /** Show this connection's server the tokens, if there are any; nothing else is sent meanwhile. */
  async prove() {
    if (this.tokens === null) {
      return;
    }
    this.#held += 1;
    this.#attempt += 1;
    await this.#exchangeUntilDone();
    this.#release();
  }

  /**
   * There is no login any more.
   *
   * @param {ServerError | null} why null: the player wanted it
   */
  forget(why) {
    if (this.tokens === null) {
      return;
    }
    this.tokens = null;
    this.user = null;
    this.#supersede(why ?? new DOMException("Logged out.", "AbortError"));
    this.dispatchEvent(new CustomEvent("tokens", { detail: null }));
    this.dispatchEvent(new CustomEvent("loggedout", { detail: why }));
  }

  /** The access token ends soon. What is asked meanwhile is asked with the old one. */
  async #renew() {
    if (this.tokens?.refreshToken !== undefined) {
      this.#isTokenSpent = true;
      this.#attempt += 1;
      await this.#exchangeUntilDone();
    }
  }

  /** Until the server has said yes or no. A connection that goes ends it: the next one begins anew. */
  async #exchangeUntilDone() {
    const attempt = this.#attempt;
    for (let failures = 0; this.#socket.connected && attempt === this.#attempt; failures += 1) {
      try {
        await this.#alone(async () => attempt === this.#attempt && (await this.#showTokens()));
        return;
      } catch (error) {
        if (!(error instanceof ServerError)) {
          return;
        }
        if (attempt === this.#attempt && REFUSALS.has(error.code)) {
          this.forget(error);
        }
        if (attempt !== this.#attempt) {
          return;
        }
        await pause(error.retryAfterMs ?? pauseAfter(failures, this.#world.random()), this.#world);
      }
    }
  }

  async #showTokens() {
    const tokens = this.tokens ?? {};
    const { token, refreshToken } = tokens;
    if (token !== undefined && !this.#isTokenSpent) {
      try {
        this.#acceptFor(tokens, await this.#socket.request("auth.resume", { token }), tokens);
        return;
      } catch (error) {
        const isRefused = error instanceof ServerError && REFUSALS.has(error.code) && error.code !== "token_revoked";
        if (!isRefused || refreshToken === undefined) {
          throw error;
        }
        this.#isTokenSpent = true;
      }
    }
    if (refreshToken === undefined) {
      throw new ServerError({ code: "token_expired", message: "This token has expired." });
    }
    // Whoever listens to `tokens` has kept the new ones before another client's turn.
    await this.#world.shared.alone(() => this.#refresh(tokens));
  }

  /** @param {Tokens} tokens */
  async #refresh(tokens) {
    const newest = this.#world.shared.newest();
    if (newest?.token !== undefined && newest.token !== tokens.token) {
      // Another client was faster, and has used the refresh token up.
      this.#acceptFor(tokens, await this.#socket.request("auth.resume", { token: newest.token }), newest);
    } else {
      const refreshToken = String(tokens.refreshToken);
      this.#acceptFor(tokens, await this.#socket.request("auth.refresh", { refreshToken }), tokens);
    }
  }

  /**
   * @param {Tokens} tokens what was held when the server was asked
   * @param {AuthenticatedData} data
   * @param {Tokens} held
   */
  #acceptFor(tokens, data, held) {
    if (this.tokens === tokens) {
      this.#accept(data, held);
    }
  }

  /**
   * @param {AuthenticatedData} data
   * @param {Tokens} held
   */
  #accept(data, held) {
    const { token, tokenExpiresAt, refreshToken = held.refreshToken } = data;
    const isNew = token !== held.token || tokenExpiresAt !== held.tokenExpiresAt || refreshToken !== held.refreshToken;
    this.tokens = { token, tokenExpiresAt, refreshToken };
    this.user = data.user;
    this.#isTokenSpent = false;
    if (isNew) {
      this.dispatchEvent(new CustomEvent("tokens", { detail: this.tokens }));
    }
    this.dispatchEvent(new CustomEvent("authenticated", { detail: data }));
    this.#resuming?.resolve(data);
    this.#resuming = null;
  }

  /** @param {Error} why what whoever waits for an older attempt is told */
  #supersede(why) {
    this.#attempt += 1;
    this.#resuming?.reject(why);
    this.#resuming = null;
  }

  /**
   * @template T
   * @param {() => Promise<T>} exchange
   * @returns {Promise<T>}
   */
  #alone(exchange) {
    const done = this.#exchange.then(exchange);
    this.#exchange = done.catch(() => {});
    return done;
  }

  /**
   * @param {AbortSignal} signal
   * @returns {Promise<void>}
   */
  #connection(signal) {
    if (this.#socket.connected) {
      return Promise.resolve();
    }
    this.#socket.wake();
    return new Promise((resolve) => {
      const done = () => resolve();
      this.#socket.addEventListener("up", done, { once: true, signal });
      signal.addEventListener("abort", done, { once: true });
    });
  }

  #release() {
    this.#held -= 1;
    if (this.#held === 0) {
      this.dispatchEvent(new Event("settled"));
    }
  }
}
