"""Makes the committed data that is computed: ``python -m rmabridge_triage.train`` (needs numpy; opencc for the tables).

It expands ``templates.txt`` with a fixed seed, learns a linear model over the n-grams of ``weights.py``, and writes
``weights.bin``; with ``--characters`` it also writes the tables of Traditional and Simplified characters, from OpenCC.
Neither library is needed where the bridge runs. The same data give the same file.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from zlib import compress, crc32

from .lexicon import phrases
from .weights import BITS, buckets
from .words import lines, normal, read

DATA: Final = Path(__file__).parent / "data"
SEED: Final = 0
VARIANTS: Final = 16
EPOCHS: Final = 6
RATE: Final = 6.0
SMOOTH: Final = 0.08
KEEP: Final = 0.5
_GROUP: Final = re.compile(r"\(([^()]*)\)(\??)")
_SLOT: Final = re.compile(r"\{([A-Z][A-Z0-9]?)\}")
T = TypeVar("T")
Slots = dict[tuple[str, str], list[str]]


class Dice:
    """Throws that are the same on every machine and in every release of Python."""

    def __init__(self, seed: int) -> None:
        self._seed, self._throws = seed, 0

    def below(self, size: int) -> int:
        """A number from 0 to one less than ``size``."""
        self._throws += 1
        return crc32(f"{self._seed}:{self._throws}".encode()) % size

    def choice(self, among: Sequence[T]) -> T:
        """One of several."""
        return among[self.below(len(among))]

    def percent(self, share: int) -> bool:
        """True so many times in a hundred."""
        return self.below(100) < share

    def shuffled(self, given: list[T]) -> list[T]:
        """The same things in another order."""
        return [one for _, _, one in sorted((self.below(1 << 30), at, one) for at, one in enumerate(given))]


def sections(text: str) -> dict[str, list[str]]:
    """The lines under each ``[name]``."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in lines(text):
        if head := re.fullmatch(r"\[([^\]]+)\]", line):
            name = head[1]
        else:
            found.setdefault(name, []).append(line)
    return found


def rows(source: str, seed: int = SEED) -> list[tuple[str, str]]:
    """(class, text) pairs: each template several times, with other words in its slots and around it."""
    dice, parts = Dice(seed), sections(source)
    slots: Slots = {}
    for name, kept in parts.items():
        if name.startswith("slot "):
            _, slot, tongue = name.split()
            slots[slot, tongue] = [word for line in kept for word in line.split("|")]
    found = []
    for name, kept in parts.items():
        code, tongue = name.split()[:2]
        if code != "slot":
            found += [(code, text) for one in kept for text in _variants(one, tongue, slots, dice)]
    return found


def _variants(template: str, tongue: str, slots: Slots, dice: Dice) -> list[str]:
    made = {_fill(template, tongue, slots, dice) for _ in range(VARIANTS)}
    frames = slots["FRAME", tongue]
    return [dice.choice(frames).replace("~", text) if dice.percent(35) else text for text in sorted(made)]


def _fill(template: str, tongue: str, slots: Slots, dice: Dice) -> str:
    text = template
    while found := _GROUP.search(text):
        chosen = "" if found[2] and dice.percent(50) else dice.choice(found[1].split("|"))
        text = text[: found.start()] + chosen + text[found.end() :]
    text = _SLOT.sub(lambda slot: dice.choice(slots[slot[1], tongue]), text)
    return re.sub(r" +", " ", text).strip(" ,，")


def learn(given: list[tuple[str, str, float]]) -> bytes:
    """The packed model of (class, text, importance) rows."""
    numpy: Any = importlib.import_module("numpy")
    classes = sorted({code for code, _, _ in given})
    weights = numpy.zeros((1 << BITS, len(classes)), dtype=numpy.float32)
    bias = numpy.zeros(len(classes), dtype=numpy.float32)
    seen = [(classes.index(code), numpy.array([*buckets(normal(text))]), how) for code, text, how in given]
    dice = Dice(SEED)
    for epoch in range(EPOCHS):
        _epoch(numpy, dice.shuffled(seen), weights, bias, RATE / (1 + epoch))
    return _packed(numpy, classes, weights, bias)


def _epoch(numpy: Any, seen: list[tuple[int, Any, float]], weights: Any, bias: Any, rate: float) -> None:
    classes = len(bias)
    for right, found, importance in seen:
        norm = len(found) ** -0.5
        scores = weights[found].sum(0) * norm + bias
        odds = numpy.exp(scores - scores.max())
        wanted = numpy.full(classes, SMOOTH / classes, dtype=numpy.float32)
        wanted[right] += 1 - SMOOTH
        step = (odds / odds.sum() - wanted) * (rate * importance)
        weights[found] -= step * norm
        bias -= step * 0.01


def _packed(numpy: Any, classes: list[str], weights: Any, bias: Any) -> bytes:
    scale = float(numpy.quantile(numpy.abs(weights[numpy.abs(weights).max(1) > KEEP]), 0.9995)) / 127
    whole = numpy.clip(numpy.rint(weights / scale), -127, 127).astype(numpy.int8)
    whole[numpy.abs(weights).max(1) <= KEEP] = 0
    used = [int(row) for row in numpy.flatnonzero(numpy.abs(whole).max(1))]
    body = b"".join(row.to_bytes(2, "big") + whole[row].tobytes() for row in used)
    facts = {"classes": classes, "scale": round(scale, 9), "bias": [round(float(one), 5) for one in bias]}
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n" + compress(body, 9)


def spoken() -> Iterator[tuple[str, str, float]]:
    """The rows to learn from: expanded templates, and each phrase of the lexicon for itself."""
    for code, text in rows(read("templates.txt")):
        yield code, text, 1.0
    classes = {code for code, _ in rows(read("templates.txt"))}
    for phrase in phrases(read("lexicon.txt")):
        if phrase.code in classes and phrase.weight >= 2:
            yield phrase.code, " ".join((phrase.head, *phrase.rest)), 0.5


def characters() -> tuple[str, str]:
    """Pairs of Traditional and Simplified characters, and the Simplified ones that no Traditional text has."""
    opencc: Any = importlib.import_module("opencc")
    down, up = opencc.OpenCC("t2s"), opencc.OpenCC("s2t")
    han = [chr(code) for first, last in ((0x3400, 0x4DC0), (0x4E00, 0xA000)) for code in range(first, last)]
    pairs = [char + new for char in han if len(new := down.convert(char)) == 1 and new != char]
    simple = (char for char in han if up.convert(char) != char and down.convert(char) == char and not _big5(char))
    return "".join(pairs), "".join(simple)


def _big5(char: str) -> bool:
    """Whether Traditional texts write the character, too: 后, 里 and 台 are characters of both scripts."""
    try:
        return bool(char.encode("big5"))
    except UnicodeEncodeError:
        return False


def _write_table(name: str, what: str, text: str) -> None:
    head = f"# {what}. Computed by train.py from OpenCC (Apache-2.0).\n"
    body = "".join(f"{text[at : at + 80]}\n" for at in range(0, len(text), 80))
    (DATA / name).write_text(head + body, encoding="utf-8")


def main() -> None:
    """Write the computed files."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--characters", action="store_true", help="also the tables of characters (needs opencc)")
    if asked.parse_args().characters:
        pairs, simple = characters()
        _write_table("simplified.txt", "Pairs: a Traditional character and its Simplified one", pairs)
        _write_table("only_simplified.txt", "Simplified characters that no Traditional text has", simple)
    (DATA / "weights.bin").write_bytes(learn(list(spoken())))


if __name__ == "__main__":
    main()
