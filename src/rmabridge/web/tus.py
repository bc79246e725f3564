"""tus 1.0: files that arrive in pieces, over broken connections. The core protocol with the extension ``creation``.

https://tus.io/protocols/resumable-upload. ``Upload-Metadata`` names the need that the file answers (``need``).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from typing import TYPE_CHECKING, Final

from aiohttp import web

from ..errors import Malformed, Refused, TooLarge, WrongType
from ..store.blobs import PIECE
from ..store.uploads import Upload
from ..wire.filetypes import LEAST

if TYPE_CHECKING:
    from .evidence import Desk, EvidenceDoor

VERSION: Final = "1.0.0"
PATCHED: Final = "application/offset+octet-stream"
HEADERS: Final = {"Tus-Resumable": VERSION, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class NoSuchUpload(Refused):
    """Finished, given up, or never begun."""

    status = 404
    title = "No such upload"


class WrongOffset(Refused):
    """The sender goes on from another place than the file here."""

    status = 409
    title = "Another offset"


class WrongVersion(Refused):
    """The sender speaks another version of tus."""

    status = 412
    title = "Another version of tus"


class Tus:
    """Uploads for the evidence door."""

    def __init__(self, door: EvidenceDoor) -> None:
        self.door, self.uploads = door, door.uploads
        self._tasks: dict[str, asyncio.Task[object]] = {}

    async def answer(self, request: web.Request, desk: Desk, id_: str) -> web.Response:
        """One request under ``/files``; refusals go up as they are."""
        method = request.headers.get("X-HTTP-Method-Override", request.method).upper()
        if method == "OPTIONS":
            return self._told()
        if request.headers.get("Tus-Resumable") != VERSION:
            raise WrongVersion(f"this door speaks tus {VERSION}")
        if method == "POST" and not id_:
            return self._create(request, desk)
        upload = self._upload(desk, id_)
        if method == "HEAD":
            return self._head(upload)
        if method == "PATCH":
            return await self._alone(request, desk, id_)
        raise Malformed(f"{method} is not part of tus as it is spoken here")

    def _told(self) -> web.Response:
        most = str(self.door.store.blobs.most)
        facts = {"Tus-Version": VERSION, "Tus-Extension": "creation", "Tus-Max-Size": most}
        return web.Response(status=204, headers=HEADERS | facts)

    def _create(self, request: web.Request, desk: Desk) -> web.Response:
        upload = self.door.begin(desk, need_of(request.headers.get("Upload-Metadata", "")), _number(request, "Length"))
        address = f"{request.path.rstrip('/')}/{upload.id}"
        return web.Response(status=201, headers=HEADERS | {"Location": address})

    def _upload(self, desk: Desk, id_: str) -> Upload:
        upload = self.door.store.read(lambda conn: self.uploads.find(conn, id_))
        if upload is None or upload.case not in {desk.case.id, desk.link.case}:
            raise NoSuchUpload
        return upload

    def _head(self, upload: Upload) -> web.Response:
        facts = {"Upload-Offset": str(self.uploads.offset(upload)), "Upload-Length": str(upload.length)}
        return web.Response(status=200, headers=HEADERS | facts)

    async def _alone(self, request: web.Request, desk: Desk, id_: str) -> web.Response:
        """One sender for each upload: who comes back over a new connection ends the dead one, and whoever waits too."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - narrows the type
        old, self._tasks[id_] = self._tasks.get(id_), task
        try:
            if old is not None:
                old.cancel()
                await asyncio.wait([old])
            return await self._patch(request, desk, self._upload(desk, id_))
        finally:
            if self._tasks.get(id_) is task:
                del self._tasks[id_]

    async def _patch(self, request: web.Request, desk: Desk, upload: Upload) -> web.Response:
        if request.content_type != PATCHED:
            raise WrongType(f"a piece of a file comes as {PATCHED}")
        offset = self.uploads.offset(upload)
        if _number(request, "Offset") != offset:
            raise WrongOffset(f"{offset} bytes are here")
        if offset < upload.length:
            offset = await self._receive(request, desk, upload, offset)
        if offset == upload.length:
            name = upload.sha256
            if name is None:
                name = await asyncio.to_thread(self.uploads.hashed, upload)
            await asyncio.shield(self.door.take(desk, upload, name))
        return web.Response(status=204, headers=HEADERS | {"Upload-Offset": str(offset)})

    async def _receive(self, request: web.Request, desk: Desk, upload: Upload, offset: int) -> int:
        """Write what arrives, piece by piece; what came before a connection broke is kept."""
        held, told = bytearray(), offset >= LEAST
        try:
            async for chunk in request.content.iter_any():
                if offset + len(held) + len(chunk) > upload.length:
                    raise TooLarge("more than was announced")
                self.door.spend(desk, len(chunk))
                held += chunk
                if len(held) >= PIECE:
                    offset, held = self._keep(upload, offset, held)
                    told = told or bool(self.door.type_of(desk, upload))
        except Refused:
            held.clear()
            raise
        finally:
            if held:
                offset, held = self._keep(upload, offset, held)
        if not told and offset >= min(LEAST, upload.length):
            self.door.type_of(desk, upload)
        return offset

    def _keep(self, upload: Upload, offset: int, held: bytearray) -> tuple[int, bytearray]:
        self.uploads.append(upload, bytes(held))
        return offset + len(held), bytearray()


def _number(request: web.Request, name: str) -> int:
    given = request.headers.get(f"Upload-{name}", "")
    if not (given.isascii() and given.isdecimal() and len(given) <= 15):
        raise Malformed(f"Upload-{name} is not a number")
    return int(given)


def need_of(metadata: str) -> str:
    """Which need a file answers, out of ``Upload-Metadata``: names with base64 values, joined by commas."""
    for one in metadata.split(","):
        name, _, value = one.strip().partition(" ")
        if name == "need":
            try:
                return base64.b64decode(value, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise Malformed("Upload-Metadata is not base64") from error
    raise Malformed("Upload-Metadata names no 'need'")
