// What somebody who writes TypeScript may write, and may not. Only checked, never run.
import { BoardFeed, ServerError, connect, socketUrl, type Entry, type Tokens } from "brain-game-client";

const game = connect(socketUrl(location));
await game.register({ email: "", username: "", password: "" }, { timeoutMs: 5000 });
const session = await game.start({ difficulty: 3, key: "a key of mine" });
const stage: number | null = session.sessionStage;
const board: BoardFeed = game.follow("daily:3", { limit: 10 });
const best: Entry | undefined = board.state?.entries[0];
const position: number | null | undefined = board.place?.position;
const tokens: Tokens | null = game.tokens;
try {
  await game.complete(120, { signal: AbortSignal.timeout(1000) });
} catch (error) {
  if (error instanceof ServerError && error.code === "session_not_active") {
    console.log(error.fields[0]?.path, error.session?.sessionVersion, stage, best, position, tokens);
  }
}
// @ts-expect-error a score is a number
await game.complete("120");
// @ts-expect-error there is no such method: the connection or the session?
game.close();
// @ts-expect-error a session has no such field
session.score;
