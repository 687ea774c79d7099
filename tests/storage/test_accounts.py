"""Registration: numbers without gaps, and names that are unique without case."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from game.session import NEVER_PLAYED, Close
from storage.accounts import AccountGone, Accounts, EmailTaken, PasswordChanged, Player, UsernameTaken
from storage.commits import Applied, Commits, Conflict
from storage.logins import LoginRefused, LoginRevoked, Logins, NewRefreshToken
from storage.sessions import PlayerUnknown, SessionStore
from tests.storage.catalog import contents
from tests.storage.playing import NOON, Sql, apply, change, game, start


async def register(accounts: Accounts, email: str, username: str, *, player_id: UUID | None = None) -> Player:
    return await accounts.register(player_id or uuid4(), email, username, "hash of " + email, NOON)


async def numbers_in_table(sql: Sql) -> list[int]:
    return [row["number"] for row in await sql.fetch("SELECT number FROM players ORDER BY number")]


async def test_players_are_numbered_from_one(accounts: Accounts) -> None:
    players = [await register(accounts, f"{name}@example.test", name) for name in ("ann", "bob", "cem")]
    assert [player.number for player in players] == [1, 2, 3]


async def test_registered_player_is_found_with_what_it_gave(accounts: Accounts) -> None:
    player = await register(accounts, "Ann@Example.test", "Ann Ü")
    assert (player.email, player.username) == ("Ann@Example.test", "Ann Ü")
    assert await accounts.find_by_email("Ann@Example.test") == (player, "hash of Ann@Example.test")


async def test_registered_player_has_never_played(accounts: Accounts, sessions: SessionStore) -> None:
    player = await register(accounts, "ann@example.test", "ann")
    assert await sessions.state(player.number) == NEVER_PLAYED


async def test_refused_registrations_leave_no_gap(accounts: Accounts, sql: Sql) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    with pytest.raises(EmailTaken):
        await register(accounts, "ANN@example.test", "somebody else")
    with pytest.raises(UsernameTaken):
        await register(accounts, "somebody@example.test", "ANN")
    with pytest.raises(asyncpg.UniqueViolationError):
        # No client can bring this about; it stands for any other failure after the number was drawn.
        await register(accounts, "somebody@example.test", "somebody", player_id=ann.id)
    bob = await register(accounts, "bob@example.test", "bob")
    assert bob.number == 2
    assert await numbers_in_table(sql) == [1, 2]


async def test_registration_that_is_cancelled_leaves_no_gap(accounts: Accounts, sql: Sql, database_url: str) -> None:
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await other.execute("SELECT FROM deployment FOR UPDATE")
        waiting = asyncio.create_task(register(accounts, "ann@example.test", "ann"))
        while not await sql.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
            await asyncio.sleep(0.005)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # Its backend may not have noticed yet. It is the only one that waits.
        await sql.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
    await other.close()
    assert (await register(accounts, "bob@example.test", "bob")).number == 1


async def test_fifty_who_register_at_once_are_numbered_without_gaps(accounts: Accounts, sql: Sql) -> None:
    def attempts(number: int) -> Sequence[tuple[str, str]]:
        """Two who want the same email, in different case; every fifth name is wanted twice as well."""
        email, username = f"player{number}@example.test", f"name {number - number % 5 // 4}"
        return (email, username), (email.upper(), f"other {number}")

    wanted = [attempt for number in range(25) for attempt in attempts(number)]
    assert len(wanted) == 50
    outcomes = await asyncio.gather(*(register(accounts, *each) for each in wanted), return_exceptions=True)
    registered = [outcome for outcome in outcomes if isinstance(outcome, Player)]
    refused = [outcome for outcome in outcomes if not isinstance(outcome, Player)]
    assert {type(error) for error in refused} <= {EmailTaken, UsernameTaken}
    # Of each pair at least one could be refused by nobody but the other.
    assert {player.email.lower() for player in registered} == {f"player{number}@example.test" for number in range(25)}
    assert sorted(player.number for player in registered) == list(range(1, len(registered) + 1))
    assert len({player.email.lower() for player in registered}) == len(registered)
    assert len({player.username.lower() for player in registered}) == len(registered)
    assert await numbers_in_table(sql) == list(range(1, len(registered) + 1))


@pytest.mark.parametrize(
    ("held", "wanted"),
    [
        ("ann", "ANN"),
        ("Straße", "STRASSE"),
        ("straẞe", "strasse"),  # the capital ß
        ("ÅSA", "åsa"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),  # final sigma
        ("ÇAĞLA", "çağla"),
        ("DŽ", "dž"),
        ("ﬁnn", "FINN"),  # a ligature
    ],
)
async def test_names_that_differ_in_case_only_are_one(accounts: Accounts, held: str, wanted: str) -> None:
    await register(accounts, f"{held}@example.test", held)
    with pytest.raises(UsernameTaken):
        await register(accounts, "somebody@example.test", wanted)
    with pytest.raises(UsernameTaken):
        await accounts.check_free("somebody@example.test", wanted)
    with pytest.raises(EmailTaken):
        await register(accounts, f"{wanted}@example.test", "somebody")
    with pytest.raises(EmailTaken):
        await accounts.check_free(f"{wanted}@example.test", "somebody")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("isik", "ısık"),  # the Turkish dotless i is another letter, in whatever case
        ("istanbul", "İstanbul"),  # and so is its dotted capital, which has no plain i as its small letter
        ("asa", "åsa"),
        ("o", "0"),
    ],
)
async def test_names_that_differ_in_a_letter_are_two(accounts: Accounts, one: str, other: str) -> None:
    await register(accounts, f"{one}@example.test", one)
    await accounts.check_free(f"{other}@example.test", other)
    assert (await register(accounts, f"{other}@example.test", other)).number == 2


async def test_email_is_named_first_when_both_are_taken(accounts: Accounts) -> None:
    await register(accounts, "ann@example.test", "ann")
    with pytest.raises(EmailTaken):
        await accounts.check_free("ann@example.test", "ann")
    with pytest.raises(EmailTaken):
        await register(accounts, "ann@example.test", "ann")


async def test_one_players_email_may_be_another_ones_name(accounts: Accounts) -> None:
    await register(accounts, "ann@example.test", "bob@example.test")
    await accounts.check_free("bob@example.test", "ann@example.test")
    assert (await register(accounts, "bob@example.test", "ann@example.test")).number == 2


async def test_check_says_nothing_when_both_are_free(accounts: Accounts) -> None:
    await register(accounts, "ann@example.test", "ann")
    await accounts.check_free("bob@example.test", "bob")


@pytest.mark.parametrize("joiner", ["\u200c", "\u200d", "\ufe0f"])
async def test_names_that_differ_by_a_joiner_only_are_one(accounts: Accounts, joiner: str) -> None:
    await register(accounts, "ada@example.test", "Ada")
    with pytest.raises(UsernameTaken):
        await register(accounts, "somebody@example.test", f"A{joiner}da")


@pytest.mark.parametrize("asked", ["ann.straße@example.test", "ANN.STRASSE@EXAMPLE.TEST", "Ann.Straße@Example.Test"])
async def test_player_is_found_by_email_in_any_case(accounts: Accounts, asked: str) -> None:
    player = await register(accounts, "Ann.Straße@example.test", "ann")
    await register(accounts, "bob@example.test", "bob")
    found = await accounts.find_by_email(asked)
    assert found is not None
    assert found[0] == player


async def test_unknown_email_is_nobodys(accounts: Accounts) -> None:
    await register(accounts, "ann@example.test", "ann")
    assert await accounts.find_by_email("nn@example.test") is None
    assert await accounts.find_by_email("%") is None


async def test_names_and_emails_are_given_for_the_numbers_that_exist(accounts: Accounts) -> None:
    await register(accounts, "ann@example.test", "ann")
    await register(accounts, "bob@example.test", "bob")
    assert await accounts.usernames([2, 1, 3, 0, 2**63 - 1]) == {1: "ann", 2: "bob"}
    assert await accounts.emails({2, 3}) == {2: "bob@example.test"}
    assert await accounts.usernames([]) == {}


# Passwords


async def open_login(logins: Logins, number: int, password_hash: str) -> UUID:
    sid = uuid4()
    await logins.open(sid, number, password_hash, NewRefreshToken(sid.bytes, NOON, NOON + timedelta(days=1)))
    return sid


async def test_changed_password_ends_every_other_login(accounts: Accounts, logins: Logins) -> None:
    ann, bob = [await register(accounts, f"{name}@example.test", name) for name in ("ann", "bob")]
    old = await accounts.password_hash(ann.number)
    keep, *others = [await open_login(logins, ann.number, old) for _ in range(3)]
    of_bob = await open_login(logins, bob.number, await accounts.password_hash(bob.number))
    ended = await accounts.change_password(ann.number, old, "new hash", keep, NOON)
    assert sorted(ended) == sorted(others)
    assert await accounts.password_hash(ann.number) == "new hash"
    assert await logins.player_of(keep) == ann
    assert await logins.player_of(of_bob) == bob
    for sid in others:
        with pytest.raises(LoginRevoked):
            await logins.player_of(sid)


async def test_password_that_was_changed_meanwhile_is_not_changed_again(accounts: Accounts, logins: Logins) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    old = await accounts.password_hash(ann.number)
    keep = await open_login(logins, ann.number, old)
    changes = [accounts.change_password(ann.number, old, f"hash {n}", keep, NOON) for n in range(4)]
    outcomes = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(PasswordChanged) == 3
    assert outcomes.count([]) == 1


async def test_no_login_with_the_old_password_survives_its_change(accounts: Accounts, logins: Logins, sql: Sql) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    held = await accounts.password_hash(ann.number)
    for round_ in range(10):
        keep = await open_login(logins, ann.number, held)
        new = f"hash {round_}"
        storm = [open_login(logins, ann.number, held) for _ in range(6)]
        opened = await asyncio.gather(
            *storm[:3], accounts.change_password(ann.number, held, new, keep, NOON), *storm[3:], return_exceptions=True
        )
        assert all(isinstance(outcome, UUID | list | LoginRefused) for outcome in opened)
        alive = await sql.fetch("SELECT sid FROM logins WHERE revoked_at IS NULL")
        assert [row["sid"] for row in alive] == [keep]
        held = new


# Deletion


async def test_deleted_account_leaves_its_log_without_the_person(
    accounts: Accounts, logins: Logins, sessions: SessionStore, commits: Commits, sql: Sql
) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    sid = await open_login(logins, ann.number, await accounts.password_hash(ann.number))
    played = game(ann.number, 7, passed=True)
    await apply(commits, *played)
    ladders = await accounts.delete(ann.number, NOON)
    assert sorted(ladders) == [row["ladder"] for row in await sql.fetch("SELECT ladder FROM ladder_entries ORDER BY 1")]
    assert len(await sessions.history(ann.number)) == len(played)
    with pytest.raises(LoginRevoked):
        await logins.player_of(sid)
    with pytest.raises(PlayerUnknown):
        await sessions.state(ann.number)
    with pytest.raises(AccountGone):
        await accounts.password_hash(ann.number)
    with pytest.raises(AccountGone):
        await accounts.delete(ann.number, NOON)
    assert await accounts.find_by_email("ann@example.test") is None
    assert await accounts.usernames([ann.number]) == await accounts.emails([ann.number]) == {}
    for table, rows in (await contents(sql)).items():
        assert not [row for row in rows if "ann" in row.lower()], table


async def test_email_and_name_of_a_deleted_account_are_free(accounts: Accounts) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    await accounts.delete(ann.number, NOON)
    again = await register(accounts, "ann@example.test", "ann")
    assert again.number == ann.number + 1


async def test_nothing_is_applied_for_a_deleted_account(
    accounts: Accounts, commits: Commits, sessions: SessionStore, sql: Sql
) -> None:
    ann = await register(accounts, "ann@example.test", "ann")
    begun = change(ann.number, start())
    await apply(commits, begun)
    outcome, _ = await asyncio.gather(
        commits.commit(change(ann.number, Close(5), begun.state)), accounts.delete(ann.number, NOON)
    )
    # Whichever was first, nothing of hers is shown, and nothing follows.
    assert isinstance(outcome, Applied | Conflict)
    assert await sql.fetchval("SELECT count(*) FROM ladder_entries WHERE NOT removed") == 0
    last = (await sessions.history(ann.number))[-1]
    assert isinstance(await commits.commit(change(ann.number, start(), last.state)), Conflict)
