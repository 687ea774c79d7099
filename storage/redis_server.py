"""Redis as its users see it: one server, of however many it consists.

Commands go to the server that has their key, those of one server in one round trip. What a cluster says meanwhile about
slots that move (MOVED, ASK, TRYAGAIN) is followed here. A server that fails is not waited for, nor is the call tried
again: it has an outcome in bounded time, and where the failed server's keys are now is found out for the next one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as NoAnswerError

from storage.postgres import StoreUnavailable
from storage.redis_nodes import PATIENCE_SECONDS, Command, Node, RedisUnavailable, Whereabouts, whereabouts
from storage.redis_url import RedisUrl

#: Seconds after which a call has its outcome, wherever it has been sent on to.
LIMIT_SECONDS: Final = 2 * PATIENCE_SECONDS
#: Seconds for which a node of a cluster that has not answered in time is not asked again. Calls that ask others for
#: something, too, would wait for it each time.
_SHUNNED_SECONDS: Final = 1.0
#: A slot on its way has its keys in two places for a moment; nodes that contradict each other need one to agree.
_PAUSE_SECONDS: Final = 0.05
#: Redirections that are followed at once: to who has the slot, and to who is about to.
_QUICK_ROUNDS: Final = 3


class Script:
    """A Lua script that may be run again after a call without an answer."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()

    def on(self, keys: Sequence[str], arguments: Sequence[str]) -> Request:
        """Run it on these keys, all of one slot."""
        return Request(keys[0], ("EVALSHA", self.sha, len(keys), *keys, *arguments), self)


@dataclass(frozen=True, slots=True)
class Request:
    """A command, and the key whose server has to be asked."""

    key: str
    command: Command
    script: Script | None = None


@dataclass(slots=True)
class _Errand:
    """A request on its way."""

    key: str
    command: Command
    script: Script | None
    #: Where a redirection has sent it.
    node: Node | None = None
    asking: bool = False
    done: bool = False
    outcome: Any = None

    def end(self, outcome: Any) -> None:
        self.done, self.outcome = True, outcome

    def fail(self, error: Exception | None = None, reason: str = "Redis does not answer") -> None:
        unavailable = RedisUnavailable(reason)
        unavailable.__cause__ = error
        self.end(unavailable)


class RedisServer:
    """The Redis behind a URL. Connects at the first use; its owner closes it."""

    def __init__(self, places: Whereabouts) -> None:
        self._places = places

    @classmethod
    def connect(cls, redis_url: str) -> RedisServer:
        """Raises ValueError for a bad URL, with one line that holds no password."""
        return cls(whereabouts(RedisUrl.parse(redis_url)))

    async def close(self) -> None:
        """Close the connections."""
        await self._places.close()

    async def ping(self) -> None:
        """Is Redis there: of a cluster at least a part, of Sentinel a primary. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                await self._places.look()
        except TimeoutError as error:
            raise RedisUnavailable("Redis does not answer") from error

    async def run(self, requests: Sequence[Request]) -> list[Any]:
        """The outcome of each request, in order: its answer, or a StoreUnavailable when the server that has its key did
        not answer in time; then it may have been done. Those of one server are done in order, unless keys are on the
        move."""
        errands = [_Errand(request.key, request.command, request.script) for request in requests]
        rounds = 0
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                if not self._places.known:
                    await self._places.look()
                while under_way := [errand for errand in errands if not errand.done]:
                    rounds += 1
                    if rounds > _QUICK_ROUNDS:
                        await asyncio.sleep(_PAUSE_SECONDS)
                    await self._send(under_way)
        except (TimeoutError, StoreUnavailable) as error:
            for errand in errands:
                if not errand.done:
                    errand.fail(error, str(error) or "Redis does not answer")
        return [errand.outcome for errand in errands]

    async def all_of(self, requests: Sequence[Request]) -> list[Any]:
        """The answers, where there is none missing; otherwise raises RedisUnavailable."""
        outcomes = await self.run(requests)
        for outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                raise outcome
        return outcomes

    async def keys(self, pattern: str, at_once: int) -> AsyncGenerator[str]:
        """Every key that matches, of all servers; one that is there all the time at least once. Raises
        RedisUnavailable."""
        if not self._places.known:
            await self.ping()
        for node in self._places.nodes():
            cursor = 0
            while True:
                try:
                    (answer,) = await node.exchange([("SCAN", cursor, "MATCH", pattern, "COUNT", at_once)])
                except (RedisError, OSError, TimeoutError) as error:
                    self._places.doubt(node)
                    raise RedisUnavailable("Redis does not answer") from error
                if isinstance(answer, Exception):
                    raise RedisUnavailable(str(answer)) from answer
                cursor, keys = answer
                for key in keys:
                    yield key
                if not cursor:
                    break

    async def listeners(self, channel: str) -> int:
        """How many subscribe to the channel now. Raises RedisUnavailable."""
        command = "PUBSUB SHARDNUMSUB" if self._places.sharded else "PUBSUB NUMSUB"
        (answer,) = await self.all_of([Request(channel, (command, channel))])
        ((_, count),) = answer.items() if isinstance(answer, dict) else answer
        return int(count)

    async def publish(self, channel: str, text: str) -> None:
        """Tell those who subscribe to the channel at this moment. Raises StoreUnavailable; then they may have been told
        or not."""
        command = "SPUBLISH" if self._places.sharded else "PUBLISH"
        (outcome,) = await self.run([Request(channel, (command, channel, text))])
        if isinstance(outcome, StoreUnavailable):
            raise outcome

    async def subscription(self, channel: str, silence_seconds: float) -> AsyncGenerator[str | None]:
        """None once it is there, then what is published. Ends when the channel's slot has moved, or nothing was heard
        for so long. Raises StoreUnavailable when the connection breaks or cannot be made."""
        node = None
        try:
            if not self._places.known:
                await self.ping()
            node = self._places.node(channel)
            if node is None:
                raise RedisUnavailable("nobody has the channel")
            async with node.pubsub() as subscriber:
                await (subscriber.ssubscribe if self._places.sharded else subscriber.subscribe)(channel)
                # Whoever closes the node, because another has the channel now, breaks this connection, too.
                while message := await subscriber.get_message(timeout=silence_seconds):
                    if message["type"] in ("subscribe", "ssubscribe"):
                        yield None
                    elif message["type"] in ("message", "smessage"):
                        yield str(message["data"])
                    else:
                        # The slot has gone elsewhere, and with it the channel.
                        break
            self._places.doubt(node)
        except (RedisError, OSError, TimeoutError) as error:
            if not (isinstance(error, MovedError) and node is not None and self._places.moved(error, node)):
                self._places.doubt(node)
            raise RedisUnavailable("the subscription has broken") from error
        except StoreUnavailable:
            self._places.doubt(node)
            raise

    async def _send(self, errands: Sequence[_Errand]) -> None:
        """Each to its node; those that are not done then are on their way to somewhere else."""
        groups: dict[Node, list[_Errand]] = {}
        for errand in errands:
            node = errand.node or self._places.node(errand.key)
            if node is None:
                self._places.doubt(None)
                errand.fail(reason="a part of Redis is missing")
            else:
                groups.setdefault(node, []).append(errand)
        if len(groups) == 1:
            ((node, group),) = groups.items()
            await self._exchange(node, group)
        else:
            await asyncio.gather(*(self._exchange(node, group) for node, group in groups.items()))

    async def _exchange(self, node: Node, errands: Sequence[_Errand]) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() < node.shunned_until:
            self._places.doubt(node)
            for errand in errands:
                errand.fail()
            return
        commands: list[Command] = []
        for errand in errands:
            if errand.asking:
                commands.append(("ASKING",))
            commands.append(errand.command)
        try:
            answers = iter(await node.exchange(commands))
        except (RedisError, OSError, TimeoutError) as error:
            self._places.doubt(node)
            if self._places.sharded and isinstance(error, TimeoutError | NoAnswerError):
                node.shunned_until = loop.time() + _SHUNNED_SECONDS
            for errand in errands:
                errand.fail(error)
            return
        for errand in errands:
            if errand.asking:
                next(answers)
            self._take(errand, next(answers), node)

    def _take(self, errand: _Errand, answer: Any, node: Node) -> None:
        if not isinstance(answer, Exception):
            errand.end(answer)
        elif isinstance(answer, AskError):  # or MovedError, which is one
            errand.node = self._places.moved(answer, node)
            errand.asking = not isinstance(answer, MovedError)
            if errand.node is None:
                errand.fail(answer, "this Redis is a cluster, so REDIS_URL has to begin with redis+cluster://")
        elif isinstance(answer, TryAgainError):
            # Some of its keys are still here and some already there. From the beginning, a little later.
            errand.node, errand.asking = None, False
        elif isinstance(answer, NoScriptError) and errand.script is not None:
            # It was restarted, or never saw the script: with the text it will know it for the next time.
            errand.command = ("EVAL", errand.script.text, *errand.command[2:])
            errand.script = None
        else:
            if isinstance(answer, ReadOnlyError | ClusterDownError):
                self._places.doubt(node)
            errand.fail(answer)
