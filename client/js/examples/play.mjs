// Registers a player and plays a session to its end. Usage: node play.mjs [ws://host:port/ws] [name]
import { connect } from "../braingame.js";

const [url = "ws://127.0.0.1:8080/ws", username = `guest ${Date.now()}`] = process.argv.slice(2);
const game = connect(url);
await game.register({ email: `${crypto.randomUUID()}@example.test`, username, password: crypto.randomUUID() });
let session = await game.start({ difficulty: 3 });
while (session.sessionStatus === 0) {
  session = await game.complete(120);
  console.log(`${game.user?.username}: ${session.sessionTotalScore} points`);
}
game.disconnect();
