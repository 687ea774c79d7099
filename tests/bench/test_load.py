"""The load: it plays what it says, counts what is answered, and tells what went wrong. Peers are not played here, since
they are installed by `make bench` alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.dialects import OURS
from bench.load import Load, measure
from bench.sockets import connect, percentile, register
from tests.stores import Stores
from tests.whole.running import server_on


def test_percentile_is_a_value_that_was_there() -> None:
    values = [5.0, 1.0, 3.0, 2.0, 4.0]
    assert [percentile(values, share) for share in (0.0, 0.2, 0.5, 0.8, 0.81, 1.0)] == [1, 1, 3, 4, 5, 5]


@pytest.mark.parametrize("rate", [None, 200.0])
async def test_every_action_that_is_counted_is_in_the_database(stores: Stores, rate: float | None) -> None:
    async with server_on(stores, BRAINGAME_LIMITS="off") as server:
        load = Load(f"http://127.0.0.1:{server.port}")
        await load.arrive(5)
        found = await load.play(1.0, rate, warm=0.0)
        load.leave()
        assert found["errors"] == 0
        assert found["actions_per_second"] > 0
        (socket, _) = (await register(f"http://127.0.0.1:{server.port}", 1))[0]
        board = await socket.ask("leaderboard.get", board="all-time", limit=10)
        # Four actions are a session of 177 points, so whoever has played one is there with them.
        assert {row["totalScore"] for row in board["entries"]} == {177}
        assert 1 <= board["total"] <= 5
        socket.drop()


async def test_what_the_server_refuses_is_counted(stores: Stores) -> None:
    # Scores of the load are above what this server takes.
    async with server_on(stores, BRAINGAME_LIMITS="off", BRAINGAME_MAX_STAGE_SCORE="1") as server:
        found = await measure(f"http://127.0.0.1:{server.port}", 2, 0.5)
        assert found["errors"] > 0


async def test_socket_of_a_server_that_is_no_game_is_an_error(stores: Stores) -> None:
    async with server_on(stores) as server:
        load = Load(f"http://127.0.0.1:{server.port}", replace(OURS, path=lambda _url, _name: "/nowhere"))
        with pytest.raises(ConnectionError, match="404"):
            await load.arrive(1)
        with pytest.raises(ConnectionError, match="401"):
            await connect(f"http://127.0.0.1:{server.port}", "no token")
