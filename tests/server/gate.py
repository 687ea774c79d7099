"""A gate before a store: shut, it is a store that has gone away; open again, the store is back at the same address."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs, unquote, urlsplit


class Gate:
    """Passes bytes on to a store. The store itself never notices, so other tests can go on using it."""

    def __init__(self, store_url: str) -> None:
        self._store_url = store_url
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._open: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}
        self._answers = True
        self._passing = asyncio.Event()
        self._passing.set()
        #: Seconds that each piece waits on its way.
        self.delay = 0.0
        self.connections = 0

    async def __aenter__(self) -> Gate:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.shut()

    @property
    def url(self) -> str:
        """The store's URL through this gate."""
        parts = urlsplit(self._store_url)
        if parts.scheme == "unix":
            return f"redis://127.0.0.1:{self._port}/{parse_qs(parts.query).get('db', ['0'])[0]}"
        user = f"{parts.username}@" if parts.username else ""
        return f"{parts.scheme}://{user}127.0.0.1:{self._port}{parts.path if parts.path else '/'}"

    async def open(self) -> None:
        """The store is there."""
        self._answers = True
        self._listener = await asyncio.start_server(self._let_in, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        """The store has gone: connections break, new ones are refused."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            for one in listener.sockets:
                asyncio.get_running_loop().remove_reader(one)
            # What was just accepted has its transport by then; asyncio would lose it if its server were closed already.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            listener.close()
        for writers in self._open.values():
            for writer in writers:
                writer.transport.abort()
        await asyncio.gather(*self._open, return_exceptions=True)
        for _ in range(4):
            # One that was just accepted comes to `_let_in` some turns of the loop later, and goes with the next ones.
            await asyncio.sleep(0)

    def hold(self) -> None:
        """Nothing passes any more, and no connection breaks: a cable that was pulled out."""
        self._passing.clear()

    def let_pass(self) -> None:
        """All goes on, with what was held."""
        self._passing.set()

    def swallow_answers(self) -> None:
        """From now on requests arrive, but their answers are lost together with the connection."""
        self._answers = False

    def _let_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._listener is None:
            writer.transport.abort()
            return
        # Known from the first moment on: `shut` ends those too that are still on their way to the store.
        self.connections += 1
        writers = [writer]
        task = asyncio.create_task(self._pass_on(reader, writers))
        self._open[task] = writers
        task.add_done_callback(self._open.pop)

    async def _pass_on(self, reader: asyncio.StreamReader, writers: list[asyncio.StreamWriter]) -> None:
        (writer,) = writers
        try:
            try:
                store_reader, store_writer = await self._to_store()
            except OSError:
                return  # It really is not there.
            writers.append(store_writer)
            await asyncio.gather(self._pump(reader, store_writer), self._pump(store_reader, writer, answers=True))
        finally:
            for one in writers:
                one.transport.abort()

    async def _to_store(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self._store_url)
        if parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(parts.path))
        query = parse_qs(parts.query)
        host = query.get("host", [parts.hostname or "127.0.0.1"])[0]
        port = int(query.get("port", [str(parts.port or {"redis": 6379}.get(parts.scheme, 5432))])[0])
        if host.startswith("/"):
            return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
        return await asyncio.open_connection(host, port)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if answers and not self._answers:
                    break
                await self._passing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
