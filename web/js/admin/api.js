/** /api/admin over HTTP, with the token of the page's login. */

export class ApiError extends Error {
  /**
   * @param {number} status 0: no answer
   * @param {string} code
   * @param {{path: string, message: string}[]} fields
   */
  constructor(status, code, fields = []) {
    super(code);
    this.status = status;
    this.code = code;
    this.fields = fields;
  }
}

export class Api {
  #game;

  /** @param {import("/client/game.js").Game} game */
  constructor(game) {
    this.#game = game;
  }

  /** @param {string} path below /api/admin */
  get(path) {
    return this.#ask(path, { method: "GET" });
  }

  /**
   * @param {string} path
   * @param {object} body
   */
  post(path, body) {
    return this.#ask(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "Content-Type": "application/json" },
    });
  }

  /**
   * @param {string} path
   * @param {RequestInit} request
   * @returns {Promise<any>}
   */
  async #ask(path, request) {
    const headers = { ...request.headers, Authorization: `Bearer ${this.#game.tokens?.token}` };
    let answer;
    let body;
    try {
      answer = await fetch(`/api/admin/${path}`, { ...request, headers, cache: "no-store" });
      body = await answer.json();
    } catch {
      throw new ApiError(0, "no_answer");
    }
    if (!answer.ok) {
      throw new ApiError(answer.status, String(body.code), body.payload?.fields ?? []);
    }
    return body;
  }
}
