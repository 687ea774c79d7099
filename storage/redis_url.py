"""What a REDIS_URL says: which kind of deployment Redis is, where to ask for it, and how to connect.

    redis://…  rediss://…  unix://…                                            one server
    redis+cluster://[user:password@]host[:port][,host[:port]…]                 Redis Cluster; any of its nodes
    redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]   Sentinel; the hosts are the sentinels

With `rediss+…` all connections use TLS. What follows a `?` are options of redis-py's connections, as for one server;
`sentinel_username` and `sentinel_password` are what the sentinels want.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from redis.asyncio.connection import BlockingConnectionPool, parse_url

_DEFAULT_PORT: Final = 6379
_DEFAULT_SENTINEL_PORT: Final = 26379
_LAST_PORT: Final = 65535
_OF_SENTINEL: Final = "sentinel_"
#: Never more than this of a URL that could not be read: its parts may be pieces of the password.
_EXPECTED: Final = (
    "redis://, rediss://, unix://, redis+cluster:// or redis+sentinel:// is expected, then [user:password@]host:port; "
    "special characters of a password have to be percent-encoded"
)


class Kind(Enum):
    """How Redis is deployed."""

    ONE = "one server"
    CLUSTER = "Redis Cluster"
    SENTINEL = "Sentinel"


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A URL that was understood. `options` are redis-py's, for connections to what holds the data; for one server they
    say where it is, too."""

    kind: Kind
    options: Mapping[str, Any] = field(repr=False)
    #: Of nodes to ask for the cluster, or of sentinels.
    addresses: tuple[Address, ...] = ()
    #: What the sentinels call the primary and its replicas.
    service: str = ""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> RedisUrl:
        """Understand a URL. Raises ValueError with one line, in which there is nothing of what is secret."""
        scheme, _, rest = url.partition("://")
        if scheme in ("redis", "rediss", "unix"):
            return cls(Kind.ONE, _options(url))
        base, _, kind = scheme.partition("+")
        if base not in ("redis", "rediss") or kind not in ("cluster", "sentinel"):
            raise ValueError(_EXPECTED)
        rest, _, options = rest.partition("?")
        netloc, _, path = rest.partition("/")
        user, at, hosts = netloc.rpartition("@")
        # The library reads what is the same for each server, as of a single one.
        one = f"{base}://{user}{at}host:1"
        query = parse_qsl(options, keep_blank_values=True)
        path = path.strip("/")
        if kind == "cluster":
            if path not in ("", "0"):
                raise ValueError("a Redis Cluster has no numbered databases: nothing may follow the hosts")
            return cls(Kind.CLUSTER, _shared(one, query), _addresses(hosts, _DEFAULT_PORT))
        service, _, database = path.partition("/")
        if not service or not (database == "" or (database.isascii() and database.isdigit())):
            raise ValueError("after the sentinels there has to be /service or /service/db, with a number for db")
        ours = [(name, value) for name, value in query if not name.startswith(_OF_SENTINEL)]
        theirs = [(name.removeprefix(_OF_SENTINEL), value) for name, value in query if name.startswith(_OF_SENTINEL)]
        if not {name for name, _ in theirs} <= {"username", "password"}:
            raise ValueError("of sentinel_… there are sentinel_username and sentinel_password")
        return cls(
            Kind.SENTINEL,
            _shared(f"{one}/{database}", ours),
            _addresses(hosts, _DEFAULT_SENTINEL_PORT),
            service,
            # Encrypted if the data's connections are, by the same certificates, but with a login of their own.
            {
                name: value
                for name, value in _shared(one, ours).items()
                if name == "connection_class" or name.startswith("ssl")
            }
            | dict(theirs),
        )


def _addresses(hosts: str, default_port: int) -> tuple[Address, ...]:
    found = []
    for each in hosts.split(","):
        try:
            parts = urlsplit(f"//{each}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValueError(_EXPECTED) from None
        if not host:
            raise ValueError(_EXPECTED)
        found.append(Address(host, default_port if port is None else port))
    return tuple(found)


def _shared(url: str, query: list[tuple[str, str]]) -> Mapping[str, Any]:
    """Without the address."""
    options = _options(f"{url}?{urlencode(query)}" if query else url)
    return {name: value for name, value in options.items() if name not in ("host", "port")}


def _options(url: str) -> Mapping[str, Any]:
    try:
        port = urlsplit(url).port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if port is not None and not 0 < port <= _LAST_PORT:
        raise ValueError(_EXPECTED)
    options: dict[str, Any] = dict(parse_url(url))
    try:
        # Not connected, only made: an option that connections do not have would otherwise fail at the first use.
        BlockingConnectionPool(**options).make_connection()  # type: ignore[no-untyped-call]
    except TypeError:
        raise ValueError("an option behind the ? is none of redis-py's connections") from None
    return options
