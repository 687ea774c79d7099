"""Which pages may use the server from a browser."""

from __future__ import annotations

from urllib.parse import urlsplit


class OriginPolicy:
    """Pages of our own host may, and those that the operator names."""

    def __init__(self, named: tuple[str, ...]) -> None:
        self._named = frozenset(named)

    def allows(self, origin: str | None, host: str | None) -> bool:
        """A request without an Origin comes from no page, so there is none to distrust."""
        return origin is None or origin.lower() in self._named or self._is_own(origin, host)

    def is_foreign(self, origin: str | None, host: str | None) -> bool:
        """Whether the request comes from a page of another host that may use us: it needs CORS headers."""
        return origin is not None and not self._is_own(origin, host) and self.allows(origin, host)

    def _is_own(self, origin: str, host: str | None) -> bool:
        # The scheme is left out: behind a proxy that ends TLS we cannot know it.
        try:
            return host is not None and urlsplit(origin).netloc.lower() == host.lower() != ""
        except ValueError:
            return False
