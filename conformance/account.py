"""The login of a scripted run: which tokens were given, which of them are good, and what an offered one is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from protocol.errors import ErrorCode, RequestError
from protocol.server_messages import UserData

#: How long a token says that it is good for; when it really ends is up to the script.
TOKEN_LIFE: Final = timedelta(hours=1)


class Account:
    """One player. `name` goes into the tokens, so that those of another run are strangers here."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._given = 0
        self._access: dict[str, ErrorCode | None] = {}  # token -> why it is refused; None: it is good
        self._spent: set[str] = set()
        self.refresh_token: str | None = None
        self.token: str | None = None
        self.expires_at = datetime.now(UTC)
        self.user = UserData(id=f"user-{name}", username="Player", email="player@example.test", number=7)

    def enter(self, email: str, username: str | None = None) -> None:
        """Somebody has registered or logged in: new tokens."""
        self.user = self.user.model_copy(update={"email": email, "username": username or self.user.username})
        self._give()

    def resume(self, token: str) -> None:
        """An access token is offered; raises RequestError unless it is good."""
        problem = self._access.get(token, ErrorCode.UNAUTHENTICATED)
        if problem is not None:
            raise RequestError(problem)

    def refresh(self, token: str) -> None:
        """A refresh token is offered: it is used up. Offered again, it ends the login, as on the real server."""
        if token in self._spent:
            self.end(ErrorCode.TOKEN_REVOKED)
            raise RequestError(ErrorCode.TOKEN_REVOKED)
        if token != self.refresh_token:
            raise RequestError(ErrorCode.UNAUTHENTICATED)
        self._spent.add(token)
        self._give()

    def end(self, why: ErrorCode) -> None:
        """From now on all access tokens are refused: `token_expired` or `token_revoked`."""
        self._access = dict.fromkeys(self._access, why)
        if why is ErrorCode.TOKEN_REVOKED and self.refresh_token is not None:
            self._spent.add(self.refresh_token)
            self.refresh_token = None

    def is_spent(self, token: str) -> bool:
        """Whether this refresh token was used before."""
        return token in self._spent

    def _give(self) -> None:
        self._given += 1
        self.token = f"access-{self._given}-{self._name}"
        self.refresh_token = f"refresh-{self._given}-{self._name}"
        self._access[self.token] = None
        # Whole milliseconds, as on the wire.
        self.expires_at = datetime.now(UTC).replace(microsecond=0) + TOKEN_LIFE
