/** Every text that a script shows, in English. Another language is one more file with these keys. */
export default {
  board: {
    "all-time": "All time",
    weekly: "This week",
    daily: "Today",
    difficulty: (level) => `difficulty ${level}`,
  },
  players: (count, number) => (count === 1 ? "1 player" : `${number} players`),
  live: "Live",
  connecting: "Connecting …",
  notLiveSince: (time) => `Not live since ${time}`,
  empty: "Nobody has finished a game here yet. The first one takes the top.",
  passedAll: "passed every stage",
  unknownBoard: "There is no such board. Here is the one of all time:",
  allTime: "All time",
  leader: (name, score, players) => `${name} leads with ${score} points. ${players}.`,
  theme: { dark: "Dark", light: "Light" },
};
