/**
 * What the page asks of a game, and what it gives it.
 *
 * @typedef {object} Stage
 * @property {any} puzzle as the server dealt it
 * @property {any} work what was done before a reload, as it was given to `keep`; null at first
 * @property {typeof import("../texts.en.js").default} texts
 * @property {number} shownForMs how long the stage was dealt before, by the server's clock
 * @property {(work: unknown) => void} keep
 * @property {(text: string) => void} say to who does not see the page
 * @property {() => void} done there is nothing more to do: take the answer
 *
 * @typedef {object} Playing
 * @property {() => Record<string, unknown>} answer what there is now
 * @property {() => void} stop
 *
 * @typedef {object} MiniGame
 * @property {(place: HTMLElement, stage: Stage) => Playing} play
 * @property {(puzzle: any, answer: any, texts: Stage["texts"]) => Node[]} review what became of it, for the player
 */

export {};
