"""A plain server on the websockets library's asyncio layer, as its documentation teaches."""

from __future__ import annotations

import asyncio
import json
import signal

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from bench.peers.game import Game


async def _main() -> None:
    watching: set[ServerConnection] = set()

    async def tell(text: str) -> None:
        broadcast(watching, text)

    game = Game(tell)
    await game.open()

    async def handler(socket: ServerConnection) -> None:
        player = None
        try:
            async for text in socket:
                message = json.loads(text)
                match message["type"]:
                    case "register":
                        player = await game.register(message["data"]["username"])
                        reply: object = {"number": player.number}
                    case "subscribe":
                        watching.add(socket)
                        await socket.send(await game.top())
                        reply = {}
                    case kind:
                        reply = await game.answer(player, kind, message["data"])
                await socket.send(json.dumps({"re": message["id"], "type": "reply", "data": reply}))
        except ConnectionClosed:
            pass
        finally:
            watching.discard(socket)

    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        print(f"ready on http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(_main())
