/**
 * Every text that the pages show, in English. Another language is one more file with these keys. What stands in the
 * HTML, too, is there for the moment before the script has run.
 */
export default {
  game: "Brain Game",
  lead: "Short games for the mind, and a leaderboard that moves while you look at it.",
  wallHeading: "On a wall",
  wallLink: "Open the board for a big screen",
  developersHeading: "For developers",
  developersText: "Watching needs no account. In the console of this page:",

  boards: "Boards",
  board: {
    "all-time": "All time",
    weekly: "This week",
    daily: "Today",
  },
  /** @type {(board: string, difficulty: number) => string} */
  atDifficulty: (board, difficulty) => `${board}, difficulty ${difficulty}`,
  unknownBoardTitle: "Board not found",
  unknownBoard: "There is no such board. Maybe the address was mistyped.",
  unknownBoardWayOut: "See the board of all time",

  /** @type {(count: number, formatted: string) => string} */
  players: (count, formatted) => (count === 1 ? "1 player" : `${formatted} players`),
  passedAll: "passed all games",
  emptyTitle: "Nobody is here yet",
  emptyText: "The first game played takes the top.",

  connecting: "Connecting …",
  unreachable: "Not connected, trying again",
  live: "Live",
  /** @type {(time: string) => string} */
  notLiveSince: (time) => `Not live since ${time}`,
  /** @type {(name: string, score: string, players: string) => string} */
  leader: (name, score, players) => `${name} leads with ${score} points. ${players}.`,

  toDark: "Switch to dark",
  toLight: "Switch to light",
};
