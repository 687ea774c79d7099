"""Who the player is, on every connection: shows the server the tokens, and renews them in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from client.backoff import pause_after
from client.errors import ConnectionLost, RequestRefused
from client.link import Link
from client.values import Tokens, User

#: These say that a token is good for nothing. Anything else may pass, and costs nobody a login.
REFUSALS: Final = frozenset({"unauthenticated", "token_expired", "token_revoked", "invalid"})


class Login:
    """The tokens of one player. `on_tokens` is told each new pair, and None when there is no login any more."""

    def __init__(
        self,
        link: Link,
        on_tokens: Callable[[Tokens | None], None],
        on_authenticated: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self.tokens: Tokens | None = None
        self.user: User | None = None
        #: Why there is no login any more, where the server has ended it.
        self.ended: RequestRefused | None = None
        self._link = link
        self._on_tokens = on_tokens
        self._on_authenticated = on_authenticated
        self._token_spent = False
        # One exchange at a time: a refresh token that is offered twice ends the login.
        self._turn = asyncio.Lock()

    def hold(self, tokens: Tokens) -> None:
        """Tokens from an earlier visit, to be shown by the next `prove`."""
        self.tokens = tokens
        self.user = self.ended = None
        self._token_spent = False

    def forget(self, why: RequestRefused | None) -> None:
        """There is no login any more."""
        if self.tokens is not None:
            self.tokens = self.user = None
            self.ended = why
            self._on_tokens(None)

    def token_is_spent(self) -> None:
        """The access token will be refused: the refresh token comes next."""
        self._token_spent = True

    async def enter(self, kind: str, data: Mapping[str, Any]) -> None:
        """Register or log in. Raises RequestRefused or ConnectionLost."""
        async with self._turn:
            await self._link.request(kind, data, lambda answer: self._accept(answer, None))

    async def prove(self) -> None:
        """Show the tokens until the server has said yes or no; who is refused is logged out. Raises ConnectionLost."""
        failures = 0
        while self.tokens is not None:
            try:
                async with self._turn:
                    if self.tokens is not None:
                        await self._offer(self.tokens)
                return
            except RequestRefused as refusal:
                if refusal.code in REFUSALS:
                    self.forget(refusal)
                    return
                after = refusal.retry_after
            await asyncio.sleep(pause_after(failures, 1.0) if after is None else after)
            failures += 1

    async def _offer(self, tokens: Tokens) -> None:
        def accept(answer: Mapping[str, Any]) -> None:
            self._accept(answer, tokens.refresh_token)

        if not self._token_spent:
            try:
                await self._link.request("auth.resume", {"token": tokens.token}, accept)
            except RequestRefused as refusal:
                stale = refusal.code in REFUSALS and refusal.code != "token_revoked"
                if not stale or tokens.refresh_token is None:
                    raise
                self._token_spent = True
            else:
                return
        if tokens.refresh_token is None:
            raise RequestRefused({"code": "token_expired", "message": "This token has expired."})
        try:
            await self._link.request("auth.refresh", {"refreshToken": tokens.refresh_token}, accept)
        except ConnectionLost as lost:
            if lost.sent:
                # The server may have used it up; what it gave instead is lost.
                self._token_spent = False
            raise

    def _accept(self, data: Mapping[str, Any], refresh_token: str | None) -> None:
        tokens = Tokens(data["token"], data.get("refreshToken", refresh_token))
        new = tokens != self.tokens
        self.tokens = tokens
        self.user = User.of(data["user"])
        self.ended = None
        self._token_spent = False
        if new:
            self._on_tokens(tokens)
        self._on_authenticated(data)
