// Socket.IO as its documentation teaches: events with acknowledgements, a room for those who watch the board.
import { createServer } from "node:http";
import { Server } from "socket.io";
import { act, prepare, register, ticking, top } from "./game.js";

await prepare();
const http = createServer();
const io = new Server(http, { transports: ["websocket"], perMessageDeflate: false, serveClient: false });
const changed = ticking((board) => io.to("board").emit("board", board));

io.on("connection", (socket) => {
  let player = null;
  let turn = Promise.resolve();
  const inTurn = (work) => (turn = turn.then(work, work));
  socket.on("register", async (username, acknowledge) => {
    player = await register(username);
    acknowledge({ number: player.number });
  });
  for (const kind of ["session.start", "session.complete"]) {
    socket.on(kind, (data, acknowledge) => inTurn(async () => {
      acknowledge(player === null ? { error: "unauthenticated" } : await act(player, kind, data.score, changed));
    }));
  }
  socket.on("subscribe", async (_data, acknowledge) => {
    socket.join("board");
    acknowledge(await top());
  });
});

http.listen(Number(process.env.PORT ?? 0), "127.0.0.1", () => {
  console.log(`ready on http://127.0.0.1:${http.address().port}`);
});
