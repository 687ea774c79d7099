"""REDIS_URL: what it says, and what is said about one that says nothing."""

from __future__ import annotations

import pytest
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection

from storage.redis_url import Address, Kind, RedisUrl


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis://localhost", {"host": "localhost"}),
        ("redis://ann:p%2Fw@h:1/3", {"host": "h", "port": 1, "db": 3, "username": "ann", "password": "p/w"}),
        ("rediss://h", {"host": "h", "connection_class": SSLConnection}),
        ("unix:///run/v.sock?db=2", {"path": "/run/v.sock", "db": 2, "connection_class": UnixDomainSocketConnection}),
    ],
)
def test_one_server_is_what_redis_py_reads(url: str, options: dict[str, object]) -> None:
    found = RedisUrl.parse(url)
    assert (found.kind, dict(found.options)) == (Kind.ONE, options)


def test_cluster_has_nodes_that_share_a_login() -> None:
    found = RedisUrl.parse("redis+cluster://ann:p%2Cw%40x@a,b:7000,[::1]:7001")
    assert (found.kind, found.options) == (Kind.CLUSTER, {"username": "ann", "password": "p,w@x"})
    assert found.addresses == (Address("a", 6379), Address("b", 7000), Address("::1", 7001))
    assert RedisUrl.parse("rediss+cluster://a?ssl_check_hostname=no").options == {
        "connection_class": SSLConnection,
        "ssl_check_hostname": False,
    }
    assert RedisUrl.parse("redis+cluster://a/0").addresses == (Address("a", 6379),)


def test_sentinels_have_a_service_and_a_login_of_their_own() -> None:
    found = RedisUrl.parse("rediss+sentinel://:pw@a,b:1/svc/2?sentinel_password=x%26y&ssl_check_hostname=no")
    assert (found.kind, found.service) == (Kind.SENTINEL, "svc")
    assert found.addresses == (Address("a", 26379), Address("b", 1))
    encrypted = {"connection_class": SSLConnection, "ssl_check_hostname": False}
    assert found.options == {"password": "pw", "db": 2} | encrypted
    assert found.sentinel_options == {"password": "x&y"} | encrypted
    # The data's login is none of theirs.
    assert RedisUrl.parse("redis+sentinel://:pw@a/svc").sentinel_options == {}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://hunter2@localhost",
        "redis+http://a",
        "redis+unix:///a",
        "redis://localhost:hunter2",
        "redis://localhost:70000",
        "redis://ann:hun/ter2@localhost",
        "redis://h?socket_timeout=hunter2",
        "redis://h?hunter2=1",
        "redis+cluster://",
        "redis+cluster://a,,b",
        "redis+cluster://a:hunter2",
        "redis+cluster://[::1",
        "redis+cluster://a/3",
        "redis+cluster://ann:hun/ter2@a",
        "redis+cluster://a?nothing=1",
        "redis+sentinel://a",
        "redis+sentinel://a/",
        "redis+sentinel://a/svc/hunter2",
        "redis+sentinel://a/svc?sentinel_hunter2=1",
    ],
)
def test_bad_url_is_refused_in_one_line_that_tells_no_secret(url: str) -> None:
    with pytest.raises(ValueError, match=r"^.+$") as caught:
        RedisUrl.parse(url)
    assert "\n" not in str(caught.value)
    assert not any(part in str(caught.value) for part in ("hunter2", "hun/", "ter2"))


def test_what_is_secret_is_not_shown_with_the_value() -> None:
    for url in ("redis://:hunter2@h", "redis+cluster://:hunter2@h", "redis+sentinel://h/s?sentinel_password=hunter2"):
        assert "hunter2" not in repr(RedisUrl.parse(url))
