/** The server's clock, which is the one that counts. */

export class ServerClock {
  #game;
  /** To be added to our own clock, in ms. */
  #ahead = 0;

  /** @param {import("/client/game.js").Game} game */
  constructor(game) {
    this.#game = game;
  }

  /** In ms since 1970. */
  now() {
    return Date.now() + this.#ahead;
  }

  /** Ask the server; right to half of the time that asking took. */
  async set() {
    const asked = Date.now();
    const server = Date.parse(await this.#game.ping());
    this.#ahead = server - (asked + Date.now()) / 2;
  }
}
