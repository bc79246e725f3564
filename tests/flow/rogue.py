"""A server that misbehaves on the wire as no framework would: resets, drips, garbage."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Iterable
from contextlib import suppress
from socket import SO_LINGER, SOL_SOCKET
from typing import Self


def answer(status: str, body: bytes, kind: str = "application/json", **headers: str) -> bytes:
    """A plain HTTP answer."""
    given = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{given}\r\n"
    return head.encode() + body


OK = answer("200 OK", b'{"id": "42"}')
HALF = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"id": '


class Rogue:
    """Plays a script, one step a request: bytes to answer with, ``reset``, ``half``, ``hang`` or ``drip``."""

    def __init__(self, *script: bytes | str) -> None:
        self.script = list(script)
        self.requests: list[str] = []

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        self._open: set[asyncio.Task[None]] = set()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        for one in self._open:
            one.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close with the next turn of the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._open.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._one(reader, writer)
        finally:
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(
            (int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
        )
        await reader.readexactly(length)
        self.requests.append(head.split(" ")[0])
        step = self.script.pop(0) if self.script else OK
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
        elif step == "drip":
            await _drip(writer, HALF)
        elif step == "hang":
            await asyncio.Event().wait()
        else:
            await self._break(writer, HALF if step == "half" else b"")

    async def _break(self, writer: asyncio.StreamWriter, before: bytes) -> None:
        writer.write(before)
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        if before:
            await asyncio.sleep(0.02)  # so that the first half arrives before the reset
        writer.transport.abort()
        raise ConnectionResetError


async def _drip(writer: asyncio.StreamWriter, text: Iterable[int]) -> None:
    for byte in text:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.05)
