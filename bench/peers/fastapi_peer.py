"""FastAPI's WebSockets on uvicorn with uvloop, as their documentation teaches."""

from __future__ import annotations

import asyncio
import socket as plain_socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
import uvloop
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from bench.peers.game import Game

watching: set[WebSocket] = set()


async def _tell(text: str) -> None:
    await asyncio.gather(*(each.send_text(text) for each in watching), return_exceptions=True)


game = Game(_tell)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await game.open()
    yield


app = FastAPI(lifespan=_lifespan)


@app.websocket("/ws")
async def play(socket: WebSocket) -> None:
    """One player or spectator."""
    await socket.accept()
    player = None
    try:
        while True:
            message = await socket.receive_json()
            match message["type"]:
                case "register":
                    player = await game.register(message["data"]["username"])
                    reply: object = {"number": player.number}
                case "subscribe":
                    watching.add(socket)
                    await socket.send_text(await game.top())
                    reply = {}
                case kind:
                    reply = await game.answer(player, kind, message["data"])
            await socket.send_json({"re": message["id"], "type": "reply", "data": reply})
    except WebSocketDisconnect:
        pass
    finally:
        watching.discard(socket)


def main() -> None:
    """Serve on a free port."""
    config = uvicorn.Config(
        app, loop="uvloop", ws="websockets-sansio", ws_per_message_deflate=False, log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    with plain_socket.create_server(("127.0.0.1", 0), backlog=1000) as listening:

        async def serve() -> None:
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            while not server.started:  # noqa: ASYNC110, uvicorn has no event for it
                await asyncio.sleep(0.01)
            print(f"ready on http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
            await serving

        uvloop.run(serve())


if __name__ == "__main__":
    main()
