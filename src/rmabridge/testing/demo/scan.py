"""A search of the bridge's files, byte for byte, for personal data in clear."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .processes import Failed


@dataclass(frozen=True)
class Scan:
    """What was searched, and what was found."""

    files: list[str]
    bytes: int
    looked_for: int
    found: list[str]


def scan(folder: Path, secrets: Sequence[str], control: Iterable[str]) -> Scan:
    """Search the bridge's database, write-ahead log and log file.

    ``control`` are clear texts that must be there: where they are not, the search itself is blind.
    """
    files = sorted(one for one in folder.glob("bridge.*") if one.is_file())
    content = {one.name: one.read_bytes() for one in files}
    for text in control:
        if not any(text.encode() in held for held in content.values()):
            raise Failed(f"the search of {', '.join(content)} is blind: {text} must be there and was not seen")
    found = [f"{text} in {name}" for text in secrets for name, held in content.items() if text.encode() in held]
    return Scan(list(content), sum(map(len, content.values())), len(secrets), found)
