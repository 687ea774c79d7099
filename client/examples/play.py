"""Registers a player and plays a session. Usage: python -m client.examples.play [ws://host:port/ws] [name]"""

import asyncio
import secrets
import sys

from client.player import connect
from client.values import Status


async def play(url: str = "ws://127.0.0.1:8080/ws", name: str = "") -> None:
    """A session to its end."""
    async with connect(url) as game:
        email, password = f"{secrets.token_hex(8)}@example.test", secrets.token_hex(8)
        user = await game.register(email, name or secrets.token_hex(4), password)
        session = await game.start(difficulty=3)
        while session.status is Status.IN_PROGRESS:
            session = await game.complete(120)
            print(f"{user.username}: {session.total_score} points")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(play(*sys.argv[1:]))
