"""Shows a board as it changes; needs no account. Usage: python -m client.examples.watch [ws://host:port/ws] [board]"""

import asyncio
import sys

from client.player import connect


async def watch(url: str = "ws://127.0.0.1:8080/ws", board: str = "all-time") -> None:
    """Until it is interrupted."""
    async with connect(url) as game, game.follow(board) as follower:
        async for state in follower:
            print(f"{board}, {state.total} players")  # noqa: T201
            for position, entry in enumerate(state.entries, start=1):
                print(f"{position}. {entry.username} {entry.total_score}", flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(watch(*sys.argv[1:]))
