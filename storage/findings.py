"""What is wrong with one player: the log's replay beside what the tables hold.

The log (`session_events`) and the operators' record (`operator_acts`) are never changed, so they say what everything
else has to be:

- `sessions` has a row for each account, at the state that its log ends in. A deleted account has none.
- `sessions.off_boards` is what the account's last take_off_boards or put_back_on_boards says; an act and its line in
  the record are one transaction.
- `ladder_entries` holds, for each ladder, each player's best session that counts there, by the log. Accounts that
  were deleted keep theirs.
- `removed` is true on every entry of a deleted account and of one that is off the boards, and false on every other.
  Taking off and putting back turn all entries of a player at once, and a commit, which locks the same row, writes a
  new entry with `removed` as `off_boards` is. So it never depends on when an entry was made.

A seed that is known on one side only is no difference (see game/replay.py). A node of a version before 0.3.0 leaves
`dealt_at` behind in `sessions` when it ends a stage that a newer node has dealt. That shows as a difference; the
player's next action ends it as well, and all it costs is time for the next stage.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from game.ranking import Entry
from game.replay import Replay, unlike, with_known_seed
from game.session import PlayerState


class Part(StrEnum):
    """Where a difference is."""

    LOG = "log"
    SESSION = "session"
    ENTRY = "entry"
    REDIS = "Redis"


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not what the log makes it, in words that name no person. `mendable`: it can be made again from
    the log."""

    part: Part
    what: str
    number: int | None = None
    ladder: str | None = None
    mendable: bool = True

    def __str__(self) -> str:
        place = [str(self.part), *(() if self.ladder is None else (self.ladder,))]
        return f"{' '.join(place)}{'' if self.number is None else f' #{self.number}'}: {self.what}"


@dataclass(frozen=True, slots=True)
class Account:
    """What the tables say of one number. `row` is None where there is none, or none that can be read (then
    `unreadable` says why). `taken_off` is what the operators' record says, `off_boards` what the row says."""

    deleted: bool
    taken_off: bool
    row: PlayerState | None
    off_boards: bool = False
    unreadable: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """One row of `ladder_entries`."""

    entry: Entry
    session_id: UUID
    removed: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one player's replay. `expected` and `kept` are the entries by ladder."""

    number: int
    events: int
    account: Account | None
    state: PlayerState
    expected: Mapping[str, Kept]
    kept: Mapping[str, Kept]
    differences: list[Difference]


def finding(
    played: Replay, events: int, problems: Sequence[str], account: Account | None, kept: Mapping[str, Kept]
) -> Finding:
    """What one player's replay comes to. `events` is how many there are, `problems` what is wrong with them."""
    number, state = played.number, played.state
    damages = list(problems)
    if account is None and events:
        damages.append("there is no account with this number")
    if account is not None and account.row is not None and account.row.version > state.version:
        damages.append(f"it ends at version {state.version}, and the session is at version {account.row.version}")
    removed = account is None or account.deleted or account.taken_off
    expected = {ladder: Kept(best.entry, best.session_id, removed) for ladder, best in played.best.items()}
    # What a damaged log leads to may be less than what there was.
    mendable = not damages
    differences = [
        *(Difference(Part.LOG, what, number, mendable=False) for what in damages),
        *(Difference(Part.SESSION, what, number, None, mendable) for what in _session_differences(account, state)),
        *(
            Difference(Part.ENTRY, what, number, ladder, mendable)
            for ladder, what in _entry_differences(expected, kept)
        ),
    ]
    return Finding(number, events, account, state, expected, kept, differences)


def _session_differences(account: Account | None, state: PlayerState) -> Iterator[str]:
    if account is None:
        return
    if account.unreadable is not None:
        yield account.unreadable
    elif account.deleted:
        if account.row is not None:
            yield "the account was deleted, and has a row"
    elif account.row is None:
        yield "there is no row"
    else:
        wrong = unlike(*with_known_seed(state, account.row))
        # The last of the fields, so it is the only one.
        if wrong.startswith("dealt_at is") and wrong.endswith("not None"):
            wrong += " (a node of a version before 0.3.0 leaves it behind)"
        if wrong and account.row.version <= state.version:
            yield wrong
        if account.off_boards != account.taken_off:
            yield f"off_boards is {account.off_boards}, and the record of the operators says {account.taken_off}"


def _entry_differences(expected: Mapping[str, Kept], kept: Mapping[str, Kept]) -> Iterator[tuple[str, str]]:
    for ladder in sorted(expected.keys() | kept.keys()):
        wanted, held = expected.get(ladder), kept.get(ladder)
        if held is None:
            yield ladder, "it is missing"
        elif wanted is None:
            yield ladder, "no session in the log stands behind it"
        elif wanted != held:
            yield ladder, ", ".join(_unlike(wanted, held))


def _unlike(wanted: Kept, held: Kept) -> Iterator[str]:
    for name in ("passed_all_games", "total_score", "achieved_at"):
        one, other = getattr(held.entry, name), getattr(wanted.entry, name)
        if one != other:
            yield f"{name} is {one}, not {other}"
    if held.session_id != wanted.session_id:
        yield f"session_id is {held.session_id}, not {wanted.session_id}"
    if held.removed != wanted.removed:
        yield f"removed is {held.removed}, not {wanted.removed}"
