"""Usernames for the boards: asked for once."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from server import names as module
from server.names import Names
from storage.accounts import Accounts
from storage.postgres import Postgres, StoreUnavailable
from tests.server.conftest import NewPlayer
from tests.server.gate import Gate


class CountedAccounts(Accounts):
    """The accounts, with a note of who was asked for."""

    def __init__(self, postgres: Postgres) -> None:
        super().__init__(postgres)
        self.asked: list[list[int]] = []

    async def usernames(self, numbers: Collection[int]) -> dict[int, str]:
        self.asked.append(sorted(numbers))
        return await super().usernames(numbers)


async def test_names_are_asked_for_once(postgres: Postgres, new_player: NewPlayer) -> None:
    ada, bob, cleo = [await new_player(name) for name in ("Ada", "Bob", "Cleo")]
    accounts = CountedAccounts(postgres)
    names = Names(accounts)
    assert await names.of([ada.number, bob.number]) == {ada.number: "Ada", bob.number: "Bob"}
    assert await names.of([bob.number, cleo.number]) == {bob.number: "Bob", cleo.number: "Cleo"}
    assert await names.of([ada.number, bob.number, cleo.number]) == {
        ada.number: "Ada",
        bob.number: "Bob",
        cleo.number: "Cleo",
    }
    assert accounts.asked == [[ada.number, bob.number], [cleo.number]]


async def test_nobody_is_no_question(postgres: Postgres) -> None:
    accounts = CountedAccounts(postgres)
    assert await Names(accounts).of([]) == {}
    assert accounts.asked == []


async def test_number_without_a_player_has_a_stand_in(postgres: Postgres, new_player: NewPlayer) -> None:
    ada = await new_player("Ada")
    assert await Names(Accounts(postgres)).of([ada.number, 99]) == {ada.number: "Ada", 99: "…"}


async def test_memory_is_bounded_and_keeps_who_was_asked_for_last(
    postgres: Postgres, new_player: NewPlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 2)
    first, second, third = [(await new_player()).number for _ in range(3)]
    accounts = CountedAccounts(postgres)
    names = Names(accounts)
    await names.of([first])
    await names.of([second])
    await names.of([first])
    await names.of([third])  # second was not asked for the longest
    accounts.asked.clear()
    await names.of([first, third])
    assert accounts.asked == []
    await names.of([second])
    assert accounts.asked == [[second]]


async def test_more_names_than_are_kept_are_all_given(
    postgres: Postgres, new_player: NewPlayer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 2)
    players = [await new_player() for _ in range(5)]
    found = await Names(Accounts(postgres)).of([player.number for player in players])
    assert found == {player.number: player.username for player in players}


async def test_known_names_are_there_while_postgresql_is_away(postgres_gate: Gate, new_player: NewPlayer) -> None:
    ada, bob = await new_player("Ada"), await new_player("Bob")
    postgres = await Postgres.connect(postgres_gate.url, connections=1)
    names = Names(Accounts(postgres))
    await names.of([ada.number])
    await postgres_gate.shut()
    assert await names.of([ada.number]) == {ada.number: "Ada"}
    with pytest.raises(StoreUnavailable):
        await names.of([ada.number, bob.number])
    await postgres.close()
