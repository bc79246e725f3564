"""A linear model over hashed character n-grams, whose classes are added up side by side in one integer.

The file (made by ``train.py``) holds one signed byte for each bucket and class. A row of 26 bytes becomes one integer
of 26 lanes, so that adding a message's rows costs one addition for each n-gram, without any numeric library. A lane
more counts the rows that there were.
"""

from __future__ import annotations

import json
from itertools import pairwise
from math import exp, log
from struct import iter_unpack, unpack
from typing import Final
from zlib import crc32, decompress

BITS: Final = 16
LANE: Final = 4
_OFFSET: Final = 128
_UNSIGNED: Final = bytes((byte + _OFFSET) & 0xFF for byte in range(256))
# Beyond these a message says nothing new.
MOST: Final = 400
MOST_WORDS: Final = 80
_MASK: Final = (1 << BITS) - 1
# The slices of the n-grams by their length in bytes, made once.
_CUTS: Final = {size: [slice(at, at + size) for at in range(0, 2 * MOST, 2)] for size in (2, 4, 6, 8)}


def buckets(text: str) -> list[int]:
    """The hashed features of a normalised text: n-grams of 1 to 4 characters, words and pairs of words."""
    words = text.split(" ")[:MOST_WORDS]
    marked = [f"w{one}" for one in words if one.isascii()] + [f"p{one} {other}" for one, other in pairwise(words)]
    # Two bytes for each character, so that an n-gram is a slice of the same bytes.
    octets = f" {text} ".encode("utf-16-le", "replace")[: 2 * MOST]
    cut, mask = octets.__getitem__, _MASK.__and__
    found = set(map(mask, map(crc32, map(str.encode, marked))))
    for size in (6, 8) if text.isascii() else (2, 4, 6):
        found |= set(map(mask, map(crc32, map(cut, _CUTS[size][: max(0, (len(octets) - size) // 2 + 1)]))))
    return list(found)


def _lanes(row: bytes) -> int:
    """The row's lanes, and a lane that counts it."""
    spread = bytearray(LANE * (len(row) + 1))
    spread[::LANE] = row.translate(_UNSIGNED) + b"\x01"
    return int.from_bytes(spread, "little")


class _Rows(dict[int, int]):
    """The row of each bucket, made when it is first met; of one that says nothing, 0."""

    def __init__(self, packed: dict[int, bytes]) -> None:
        super().__init__()
        self._packed = packed

    def __missing__(self, bucket: int) -> int:
        row = self._packed.get(bucket)
        made = self[bucket] = _lanes(row) if row else 0
        return made


class Linear:
    """The weights, ready for adding."""

    def __init__(self, packed: bytes) -> None:
        head, _, body = packed.partition(b"\n")
        facts = json.loads(head)
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        self._scale: float = facts["scale"]
        self._bias: tuple[float, ...] = tuple(facts["bias"])
        self._rows = _Rows(dict(iter_unpack(f">H{len(self.classes)}s", decompress(body))))

    def logs(self, text: str) -> dict[str, float]:
        """The logarithm of each class's probability."""
        found = buckets(text)
        total = sum(map(self._rows.__getitem__, found))
        size = len(self.classes) + 1
        *lanes, rows = unpack(f"<{size}I", total.to_bytes(LANE * size, "little"))
        off, norm = _OFFSET * rows, self._scale / max(1, len(found)) ** 0.5
        scores = [(lane - off) * norm + bias for lane, bias in zip(lanes, self._bias, strict=True)]
        most = max(scores)
        whole = most + log(sum([exp(one - most) for one in scores]))
        return dict(zip(self.classes, [score - whole for score in scores], strict=True))
