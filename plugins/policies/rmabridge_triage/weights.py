"""A linear model over hashed character n-grams, whose classes are added up side by side in one integer.

The file (made by ``train.py``) holds one signed byte for each bucket and class. A row of 26 bytes becomes one integer
of 26 lanes, so that adding a message's rows costs one addition for each n-gram, without any numeric library. A lane
more counts the rows that there were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain, islice, pairwise, repeat
from math import exp, log
from operator import add
from struct import iter_unpack, unpack, unpack_from
from typing import Final
from zlib import crc32, decompress

BITS: Final = 16
LANE: Final = 2
# So many rows at most fit into their lanes.
_ROWS: Final = 256
_OFFSET: Final = 128
_UNSIGNED: Final = bytes((byte + _OFFSET) & 0xFF for byte in range(256))
# Beyond these a message says nothing new.
MOST: Final = 400
MOST_WORDS: Final = 80
_MASK: Final = (1 << BITS) - 1
_LONGEST_GRAM: Final = 4
_WORD, _PAIR = crc32(b"w"), crc32(b"p")


def buckets(text: str) -> set[int]:
    """The hashed features of a normalised text: n-grams of 1 to 4 characters, words and pairs of words."""
    words = text.encode("utf-8", "replace").split(b" ", MOST_WORDS)[:MOST_WORDS]
    pairs = map(b" ".join, pairwise(words))
    marked = chain(map(crc32, filter(bytes.isascii, words), repeat(_WORD)), map(crc32, pairs, repeat(_PAIR)))
    found = set(map(_MASK.__and__, marked))
    # Two bytes for each character, so that every n-gram of a size has the same number of them.
    octets = f" {text} ".encode("utf-16-le", "replace")[: 2 * MOST]
    return found.union(*_grams(octets, (3, 4) if text.isascii() else (1, 2, 3)))


def _grams(octets: bytes, sizes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """The buckets of the n-grams of some sizes.

    A checksum is linear: that of an n-gram is the sum (xor) of what each character says at its distance from the end.
    So it is worked out for all places of the text at once, in one whole number.
    """
    low, high = octets[::2], octets[1::2]
    size, total = len(low), 0
    wide = bool(high.strip(b"\0"))
    for length, tables in enumerate(_TABLES[: min(sizes[-1], size)], 1):
        total = total >> 8 ^ int.from_bytes(low.translate(tables[0]) + low.translate(tables[1]), "little")
        if wide:
            total ^= int.from_bytes(high.translate(tables[2]) + high.translate(tables[3]), "little")
        if length in sizes:
            # First all low bytes, then all high.
            both, joined = total.to_bytes(2 * size, "little"), bytearray(2 * size)
            joined[::2], joined[1::2] = both[:size], both[size:]
            yield unpack_from(f"<{size - length + 1}H", joined)


def _tables(back: int) -> tuple[bytes, ...]:
    """For a character's two bytes the two low bytes of the checksum, by the characters that come after it."""
    after = 2 * back
    alone = crc32(bytes(after + 2)) ^ (crc32(bytes(after)) if back else 0)
    low = [crc32(bytes([byte]) + bytes(after + 1)) ^ crc32(bytes(after + 2)) ^ alone for byte in range(256)]
    high = [crc32(bytes([byte]) + bytes(after)) ^ crc32(bytes(after + 1)) for byte in range(256)]
    return tuple(bytes(one >> shift & 0xFF for one in row) for row in (low, high) for shift in (0, 8))


_TABLES: Final = [_tables(back) for back in range(_LONGEST_GRAM)]


def _rows(body: bytes, classes: int) -> list[int]:
    """The row of each bucket, spread into lanes; of one that says nothing, 0."""
    wide = LANE * (classes + 2)
    spread = bytearray(LANE * len(body))
    spread[::LANE] = body.translate(_UNSIGNED)
    # A row begins with its bucket; the count takes that place.
    spread[::wide] = b"\x01" * (len(spread) // wide)
    spread[LANE::wide] = bytes(len(spread) // wide)
    rows = [0] * (1 << BITS)
    for (bucket,), (row,) in zip(iter_unpack(f">H{classes}x", body), iter_unpack(f"{wide}s", spread), strict=True):
        rows[bucket] = int.from_bytes(row, "little")
    return rows


class Linear:
    """The weights, ready for adding."""

    def __init__(self, packed: bytes) -> None:
        head, _, body = packed.partition(b"\n")
        facts = json.loads(head)
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        self._scale: float = facts["scale"]
        self._bias: tuple[float, ...] = tuple(facts["bias"])
        self._rows = _rows(decompress(body), len(self.classes))

    def _sums(self, found: set[int]) -> list[int]:
        """How many rows there are, nothing, and what their lanes come to."""
        size, rows = len(self.classes) + 2, map(self._rows.__getitem__, found)
        sums = [0] * size
        for _ in range(0, len(found), _ROWS):
            total = sum(islice(rows, _ROWS))
            sums = [*map(add, sums, unpack(f"<{size}H", total.to_bytes(LANE * size, "little")))]
        return sums

    def logs(self, text: str) -> dict[str, float]:
        """The logarithm of each class's probability."""
        found = buckets(text)
        rows, _, *lanes = self._sums(found)
        off, norm = _OFFSET * rows, self._scale / max(1, len(found)) ** 0.5
        scores = [(lane - off) * norm + bias for lane, bias in zip(lanes, self._bias, strict=True)]
        most = max(scores)
        whole = most + log(sum([exp(one - most) for one in scores]))
        return dict(zip(self.classes, [score - whole for score in scores], strict=True))
