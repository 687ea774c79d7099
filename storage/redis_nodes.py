"""The servers that Redis consists of, and which of them has a key now.

`Whereabouts` has a way for each kind of deployment. It is asked for each key, told who has failed (`doubt`) and what a
cluster's nodes say about moved slots (`moved`), and then looks anew by itself. Redis-py's own RedisCluster and
SentinelConnectionPool are not used, though its sentinel client is: decision 10 says why.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import redis.asyncio
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError

from storage.postgres import StoreUnavailable
from storage.redis_url import Address, Kind, RedisUrl

#: Seconds to wait for a connection to be free, for it to be made, and for an answer: each of the three.
PATIENCE_SECONDS: Final = 1.0
#: Seconds for a sentinel, of which more than one may have to be asked in the time for one exchange.
_SENTINEL_PATIENCE_SECONDS: Final = 0.5
_CONNECTIONS: Final = 16
SLOTS: Final = 16384
#: Nodes that are asked for the map of the slots at the same time; the first answer is taken.
_ASKED_AT_ONCE: Final = 5
#: Seconds between two looks in the background, however many calls fail in between.
_REST_SECONDS: Final = 0.1


class RedisUnavailable(StoreUnavailable):
    """Redis it is that cannot be used now."""


#: A command's name and its arguments.
Command = tuple[str | int | float, ...]


class Node:
    """One server, behind a bounded number of connections; connects at the first use."""

    def __init__(self, options: Mapping[str, Any], patience: float = PATIENCE_SECONDS) -> None:
        settings = {
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
            # Waiting and trying again is decided by callers, who know how much time they have.
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            # What is no text is nothing of ours either.
            "encoding_errors": "replace",
            **options,
        }
        # Those who come when all are in use wait for one, instead of opening hundreds at once.
        pool = redis.asyncio.BlockingConnectionPool(max_connections=_CONNECTIONS, timeout=patience, **settings)
        self.client = redis.asyncio.Redis.from_pool(pool)
        #: The loop's time before which nobody is to wait for it.
        self.shunned_until = 0.0

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """The answers in order, all in one round trip; errors that the server answers with are among them. Raises
        RedisError, OSError or TimeoutError when it does not answer."""
        pipeline = self.client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return await pipeline.execute(raise_on_error=False)

    def pubsub(self) -> PubSub:
        """A subscriber with one of the connections."""
        return self.client.pubsub(ignore_subscribe_messages=False)

    async def close(self) -> None:
        """Close the connections."""
        with suppress(RedisError, OSError, TimeoutError):
            await self.client.aclose()


class Whereabouts(ABC):
    """Which node has a key. Looks in tasks of its own, which `close` ends."""

    #: Whether channels belong to the nodes as keys do (SSUBSCRIBE).
    sharded: bool = False

    def __init__(self) -> None:
        self._looking: asyncio.Task[None] | None = None
        self._background: asyncio.Task[None] | None = None

    @abstractmethod
    def node(self, key: str) -> Node | None:
        """Who has the key, as far as it is known."""

    @abstractmethod
    def nodes(self) -> Sequence[Node]:
        """All that have keys, as far as it is known."""

    @abstractmethod
    async def find(self) -> None:
        """As `look`, for itself alone."""

    async def look(self) -> None:
        """Find out who has what now; those who want to know at the same time share one look. Raises StoreUnavailable
        when nobody answers."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self.find(), name="looking for Redis")
        looking = self._looking
        # Whoever gives up does not end it for the others.
        await asyncio.wait([looking])
        if looking.cancelled():
            raise RedisUnavailable("closed")
        if error := looking.exception():
            raise RedisUnavailable(str(error)) from error

    @property
    @abstractmethod
    def known(self) -> bool:
        """Whether a look has succeeded before."""

    def moved(self, error: AskError, answered: Node) -> Node | None:
        """Where a node sends us; None when it is not for it to say."""
        return None

    def doubt(self, node: Node | None) -> None:
        """This node has failed, or says that it is not the one: look anew, soon."""
        if self._background is None or self._background.done():
            self._background = asyncio.create_task(self._look_and_rest(), name="whereabouts of Redis")

    async def close(self) -> None:
        """End the look and close every connection."""
        for task in (self._background, self._looking):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        for node in self._nodes_to_close():
            await node.close()

    async def _look_and_rest(self) -> None:
        with suppress(StoreUnavailable):
            await self.look()
        await asyncio.sleep(_REST_SECONDS)

    @abstractmethod
    def _nodes_to_close(self) -> Iterable[Node]:
        """All that were made."""


def whereabouts(url: RedisUrl) -> Whereabouts:
    """Of the deployment behind the URL."""
    if url.kind is Kind.CLUSTER:
        return ClusterMap(url)
    if url.kind is Kind.SENTINEL:
        return WatchedPrimary(url)
    return OneServer(url)


class OneServer(Whereabouts):
    """All keys at one address, for ever."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__()
        self._node = Node(url.options)

    def node(self, key: str) -> Node:
        """The one."""
        return self._node

    def nodes(self) -> Sequence[Node]:
        """The one."""
        return [self._node]

    async def find(self) -> None:
        """Is it there."""
        try:
            await self._node.client.ping()
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable("Redis does not answer") from error

    @property
    def known(self) -> bool:
        """Always."""
        return True

    def doubt(self, node: Node | None) -> None:
        """There is no other."""

    def _nodes_to_close(self) -> Iterable[Node]:
        return [self._node]


class WatchedPrimary(Whereabouts):
    """All keys at the primary that the sentinels name."""

    def __init__(self, url: RedisUrl) -> None:
        super().__init__()
        self._url = url
        self._sentinels = [
            Node({**url.sentinel_options, "host": host, "port": port}, _SENTINEL_PATIENCE_SECONDS)
            for host, port in url.addresses
        ]
        self._sentinel = Sentinel([])  # type: ignore[no-untyped-call]
        self._address: Address | None = None
        self._node: Node | None = None

    def node(self, key: str) -> Node | None:
        """The primary."""
        return self._node

    def nodes(self) -> Sequence[Node]:
        """The primary."""
        return [] if self._node is None else [self._node]

    async def find(self) -> None:
        """Ask the sentinels, one after the other in any order, and turn to whom they name."""
        # A sentinel that is cut off from the others may name an old primary, so it is not always the same who is asked.
        self._sentinel.sentinels = random.sample([each.client for each in self._sentinels], len(self._sentinels))
        try:
            found = Address(*await self._sentinel.discover_master(self._url.service))
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisUnavailable(f"no sentinel knows a primary of {self._url.service!r} that is up") from error
        if found != self._address:
            before = self._node
            self._address = found
            self._node = Node({**self._url.options, "host": found.host, "port": found.port})
            if before is not None:
                await before.close()

    @property
    def known(self) -> bool:
        """Whether a sentinel has named one."""
        return self._node is not None

    def _nodes_to_close(self) -> Iterable[Node]:
        return [*self._sentinels, *([] if self._node is None else [self._node])]


class ClusterMap(Whereabouts):
    """Each key where its slot is."""

    sharded = True

    def __init__(self, url: RedisUrl) -> None:
        super().__init__()
        self._url = url
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Address | None] = []
        self._doubted: set[Address] = set()

    def node(self, key: str) -> Node | None:
        """The primary that has the key's slot; None for a slot that nobody has, or before the first look."""
        address = self._slots[key_slot(key.encode())] if self._slots else None
        return None if address is None else self._at(address)

    def nodes(self) -> Sequence[Node]:
        """Every primary that has a slot."""
        return [self._at(address) for address in {*self._slots} if address is not None]

    async def find(self) -> None:
        """Ask some nodes at once, rather those that have not failed lately, and believe the first that answers."""
        known = [address for address in {*self._slots, *self._url.addresses} if address is not None]
        random.shuffle(known)
        known.sort(key=self._doubted.__contains__)
        asked = {asyncio.create_task(self._ask(address)): address for address in known[:_ASKED_AT_ONCE]}
        slots = None
        try:
            for answer in asyncio.as_completed(asked):
                with suppress(RedisError, OSError, TimeoutError):
                    slots = await answer
                    break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        # Whoever has not answered first is not worse for it; who has failed is told by the next failure.
        self._doubted.clear()
        if slots is None:
            self._doubted.update(asked.values())
            raise RedisUnavailable("no node of the Redis Cluster answers")
        self._slots = slots
        for address in self._nodes.keys() - {*slots, *self._url.addresses}:
            await self._nodes.pop(address).close()

    @property
    def known(self) -> bool:
        """Whether a node has shown the map."""
        return bool(self._slots)

    def moved(self, error: AskError, answered: Node) -> Node:
        """The node that is named: from now on for MOVED, this time for ASK."""
        # A node that does not know its own name leaves it out, and means the one that was asked.
        host = error.host or next((address.host for address, node in self._nodes.items() if node is answered), "")
        address = Address(host, error.port)
        if isinstance(error, MovedError) and self._slots:
            # Others may have moved, too; they say so themselves. To look at once would often find an older map.
            self._slots[error.slot_id] = address
        return self._at(address)

    def doubt(self, node: Node | None) -> None:
        """Look anew, and rather not there."""
        self._doubted.update(address for address, each in self._nodes.items() if each is node)
        super().doubt(node)

    def _at(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node({**self._url.options, "host": address.host, "port": address.port})
        return self._nodes[address]

    async def _ask(self, address: Address) -> list[Address | None]:
        """A primary, or none, for each slot. Raises as `Node.exchange`, also when the node is of no cluster."""
        (answer,) = await self._at(address).exchange([("CLUSTER", "SLOTS")])
        if isinstance(answer, Exception):
            raise answer
        slots: list[Address | None] = [None] * SLOTS
        for first, last, (host, port, *_), *_replicas in answer:
            # An empty name, or none, stands for the one by which the node was reached.
            primary = Address(host or address.host, port)
            slots[first : last + 1] = [primary] * (last + 1 - first)
        return slots

    def _nodes_to_close(self) -> Iterable[Node]:
        return self._nodes.values()
