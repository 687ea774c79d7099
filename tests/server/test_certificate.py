"""TLS on the port: which certificate is shown, before and after it was renewed, and what is refused."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import pytest
import trustme
from structlog.testing import LogCapture
from websockets.asyncio.client import connect

from server.certificate import Certificate
from server.log import Log
from server.settings import SettingError
from tests.server.clients import Client
from tests.server.edge import edge_on
from tests.stores import Stores

AUTHORITY = trustme.CA()


def write(folder: Path, *names: str) -> tuple[Path, Path]:
    """A new certificate for these names, in the place of the one before."""
    leaf = AUTHORITY.issue_cert(*names)
    certificate, key = folder / "chain.pem", folder / "key.pem"
    for path, blobs in ((certificate, leaf.cert_chain_pems), (key, [leaf.private_key_pem])):
        draft = path.with_suffix(".new")
        draft.write_bytes(b"".join(blob.bytes() for blob in blobs))
        draft.replace(path)
    return certificate, key


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def names_shown(context: ssl.SSLContext, name: str) -> Sequence[object]:
    """What a client sees that asks for this name; the handshake is done in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting().wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    found = client.getpeercert()
    assert found is not None
    shown = found["subjectAltName"]
    assert isinstance(shown, tuple)
    return shown


async def test_pages_api_and_sockets_are_encrypted(stores: Stores, database_url: str, tmp_path: Path) -> None:
    certificate, key = write(tmp_path, "127.0.0.1")
    async with edge_on(stores, database_url, tls_certificate=certificate, tls_key=key) as edge:
        assert edge.http.startswith("https://127.0.0.1:")
        address = edge.http.removeprefix("https://")
        async with aiohttp.ClientSession() as http, http.get(f"{edge.http}/readyz", ssl=trusting()) as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        async with connect(f"wss://{address}/ws", ssl=trusting(), proxy=None) as connection:
            client = Client(connection)
            await client.register("Ada")
            await client.do("leaderboard.subscribe")
            assert (await client.play(1, 2, 3))["sessionTotalScore"] == 6
            assert (await client.push("leaderboard.delta"))["upserts"][0]["totalScore"] == 6
        # Nothing is served in the clear.
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP" not in await reader.read()
        writer.close()


def test_tls_is_not_older_than_1_2_and_has_no_compression(tmp_path: Path, log: Log) -> None:
    context = Certificate(*write(tmp_path, "one.example"), log).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert ssl.Options.OP_NO_COMPRESSION in context.options
    assert not any(
        weak in cipher["name"] for cipher in context.get_ciphers() for weak in ("RC4", "DES", "NULL", "MD5", "EXP")
    )


def test_renewed_certificate_is_shown_to_those_who_come_from_now_on(
    tmp_path: Path, log: Log, capture: LogCapture
) -> None:
    certificate = Certificate(*write(tmp_path, "one.example"), log)
    context = certificate.context
    assert names_shown(context, "one.example") == (("DNS", "one.example"),)
    certificate.look()
    assert capture.entries == []
    write(tmp_path, "two.example")
    certificate.look()
    assert names_shown(context, "two.example") == (("DNS", "two.example"),)
    assert [line["event"] for line in capture.entries] == ["the renewed certificate is in use"]


def test_half_a_renewal_leaves_the_old_certificate_in_use(tmp_path: Path, log: Log, capture: LogCapture) -> None:
    path, key = write(tmp_path, "one.example")
    certificate = Certificate(path, key, log)
    old_key = key.read_bytes()
    write(tmp_path, "two.example")
    new_key = key.read_bytes()
    key.write_bytes(old_key)
    for _ in range(2):
        certificate.look()
        assert names_shown(certificate.context, "one.example") == (("DNS", "one.example"),)
    assert {line["event"] for line in capture.entries} == {"the renewed certificate cannot be used yet"}
    path.unlink()
    certificate.look()
    assert names_shown(certificate.context, "one.example") == (("DNS", "one.example"),)
    write(tmp_path, "two.example")
    key.write_bytes(new_key)
    write(tmp_path, "three.example")
    certificate.look()
    assert names_shown(certificate.context, "three.example") == (("DNS", "three.example"),)


def test_files_that_are_no_pair_are_one_line_without_their_content(tmp_path: Path, log: Log) -> None:
    certificate, key = write(tmp_path, "one.example")
    nonsense, nothing = tmp_path / "nonsense", tmp_path / "nothing"
    nonsense.write_text("hunter2")
    for pair in ((certificate, nonsense), (nonsense, key), (nothing, key), (certificate, certificate), (tmp_path, key)):
        with pytest.raises(SettingError) as caught:
            Certificate(*pair, log)
        said = str(caught.value)
        assert said.startswith("BRAINGAME_TLS_CERTIFICATE, BRAINGAME_TLS_KEY: "), said
        assert "hunter2" not in said
        assert "\n" not in said


def test_certificate_that_is_the_same_is_not_read_again(tmp_path: Path, log: Log, capture: LogCapture) -> None:
    path, key = write(tmp_path, "one.example")
    certificate = Certificate(path, key, log)
    os.utime(path)
    certificate.look()
    certificate.look()
    assert len(capture.entries) == 1
