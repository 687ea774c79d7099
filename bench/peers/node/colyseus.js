// Colyseus as its documentation teaches: a room of the players, and one of those who watch the board, which is broadcast.
import { createServer } from "node:http";
import { Room, Server } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { act, prepare, register, ticking, top } from "./game.js";

await prepare();

let changed = () => {};

class Board extends Room {
  onCreate() {
    this.autoDispose = false;
    changed = ticking((board) => this.broadcast("board", board));
  }

  async onJoin(client) {
    client.send("board", await top());
  }
}

class Game extends Room {
  onCreate() {
    this.autoDispose = false;
    for (const kind of ["session.start", "session.complete"]) {
      this.onMessage(kind, (client, data) => {
        const { player } = client.userData;
        const work = async () => client.send("session", await act(player, kind, data.score, () => changed()));
        client.userData.turn = client.userData.turn.then(work, work);
      });
    }
  }

  async onJoin(client, options) {
    client.userData = { player: await register(options.username), turn: Promise.resolve() };
  }
}

const http = createServer();
const server = new Server({ transport: new WebSocketTransport({ server: http }), greet: false, gracefullyShutdown: false });
server.define("game", Game);
server.define("board", Board);
await server.listen(Number(process.env.PORT ?? 0), "127.0.0.1");
console.log(`ready on http://127.0.0.1:${http.address().port}`);
process.on("SIGTERM", () => process.exit(0));
