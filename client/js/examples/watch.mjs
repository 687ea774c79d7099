// Shows a board as it changes; needs no account. Usage: node watch.mjs [ws://host:port/ws] [board]
import { connect } from "../braingame.js";

const [url = "ws://127.0.0.1:8080/ws", name = "all-time"] = process.argv.slice(2);
const board = connect(url).follow(name, { limit: 10 });
board.addEventListener("state", () => {
  const rows = board.state?.entries.map(({ username, totalScore }, index) => `${index + 1}. ${username} ${totalScore}`);
  console.log([`${name}, ${board.state?.total} players`, ...(rows ?? [])].join("\n"));
});
board.addEventListener("stale", () => console.log("not live"));
