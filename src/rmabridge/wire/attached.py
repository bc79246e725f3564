"""The files that go along with words: the bytes of what was stored or made here, and lines for everything else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from rmabridge.errors import Rejected
from rmabridge.model import Attachment

from . import documents

Blob = Callable[[str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """``files`` with their bytes; ``lines`` name what does not go along, and where it is or why."""

    files: tuple[tuple[Attachment, bytes], ...]
    lines: tuple[str, ...]

    def words(self, text: str) -> str:
        """The text with the lines below."""
        return "\n".join([text, *self.lines])


async def bundle(attachments: Iterable[Attachment], blob: Blob, most: int) -> Bundle:
    """What goes along, at most so many bytes in all; ``blob`` reads a stored file."""
    files: list[tuple[Attachment, bytes]] = []
    lines: list[str] = []
    for one in attachments:
        data = await _bytes(one, blob, most)
        if isinstance(data, str):
            lines.append(f"{one.name}: {data}")
        elif len(data) > most:
            lines.append(f"{one.name}: {one.url or _TOO_LARGE}")
        else:
            most -= len(data)
            files.append((one, data))
    return Bundle(tuple(files), tuple(lines))


async def _bytes(file: Attachment, blob: Blob, most: int) -> bytes | str:
    """The bytes, or what stands in for them: an address, or why there are none."""
    if file.text is not None:
        return documents.content(file)
    if file.sha256 is None:
        return file.url or "the file was not kept"
    if (file.size or 0) > most:
        return file.url or _TOO_LARGE
    try:
        return await blob(file.sha256)
    except (Rejected, LookupError):  # erased, cleaned up, or of a mail whose files were never kept
        return file.url or f"the file is not kept here any more (SHA-256 {file.sha256})"


_TOO_LARGE = "too large to attach; see 'rmabridge cases evidence --save'"
