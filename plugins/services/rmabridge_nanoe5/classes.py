"""The classes as the model sees them: for each one a direction and a threshold, learned from triage's templates.

The file (made by ``train.py``) holds half-precision numbers: the classes' centroids, measured by how much texts of one
class differ among themselves. No numeric library is needed to compare with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from operator import mul
from struct import unpack
from typing import Final

from rmabridge.model import Issue

FILE: Final = "classes.bin"


class Classes:
    """What was learned, ready for comparing."""

    def __init__(self, packed: bytes) -> None:
        head, _, body = packed.partition(b"\n")
        facts = json.loads(head)
        self.issues = tuple(Issue(one) for one in facts["issues"])
        self._bias: tuple[float, ...] = tuple(facts["bias"])
        self.size = size = facts["size"]
        many = len(self.issues)
        numbers = unpack(f"<{many * size}e", body)
        self._rows = [numbers[at : at + size] for at in range(0, many * size, size)]

    def nearest(self, text: Sequence[float]) -> tuple[Issue, float]:
        """The class nearest to an embedded text, and how far it leads."""
        if len(text) != self.size:
            raise ValueError(f"the model gives {len(text)} numbers, the classes were learnt from {self.size}")
        scores = [sum(map(mul, row, text)) + bias for row, bias in zip(self._rows, self._bias, strict=True)]
        second, best = sorted(scores)[-2:]
        return self.issues[scores.index(best)], best - second


@cache
def shipped() -> Classes:
    """The classes of this package."""
    return Classes((files(__package__) / FILE).read_bytes())
