"""``make bench BENCH="--only parsing"``: CPU time of ``parse`` and ``verify`` of each plugin that receives anything.

The bodies are those of the plugins' contract tests, grown to about 2 KB as the vendor's own are: with more lines, scans
or messages, with longer words, or else with fields that nobody reads. A batch of up to eight things is such a body too.
What cannot grow (a sealed body) is timed as it is. ``verify`` is timed with the signed sample, whose signature covers
its own bytes alone. Of all samples of a plugin and all ways to grow them the slowest counts. Garbage is collected as
the bridge collects it.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from rmabridge.abilities import Inbound, Parses
from rmabridge.errors import RmabridgeError
from rmabridge.flow.bridge import GC
from rmabridge.testing.contexts import NOON
from rmabridge.testing.contract import ParseContract, WebhookContract

TESTS: Final = Path(__file__).parents[1] / "tests"
SIZE: Final = 2048
ROUNDS: Final = 60
# Shorter than a slice of the scheduler: on a busy machine the best round is one that nothing interrupted.
ROUND_SECONDS: Final = 0.002
TARGET_US: Final = 200.0
WORDS: Final = "The cup arrived with a crack from the rim to the handle. 杯子收到就碎了，请退款。 "
TEXTS: Final = ("text", "content", "body", "Body", "note", "desc", "remark", "description", "context")
ENDING: Final = re.compile(r"\d\d(?=(\.\d+)?(Z|[+-]\d\d:?\d\d)?$)")
LONG_NUMBER: Final = 1000
MOST_EVENTS: Final = 8


def contracts() -> list[ParseContract]:
    """The contract of each bundled plugin that parses, as its tests have it."""
    bundled = {one.value for one in entry_points(group="rmabridge")}
    found = []
    for path in sorted(TESTS.rglob("test_*.py")):
        if re.search(r"^class Test\w*\(.*Contract", path.read_text(encoding="utf-8"), re.MULTILINE):
            module = imported(path)
            ours = [one for one in vars(module).values() if getattr(one, "__module__", "") == module.__name__]
            parsing = [one for one in ours if isinstance(one, type) and issubclass(one, ParseContract)]
            found += [one() for one in parsing if one.plugin.__module__.partition(".")[0] in bundled]
    return found


def imported(path: Path) -> ModuleType:
    """A file of tests, imported as pytest does, or by pytest."""
    if path.stem in sys.modules:
        return sys.modules[path.stem]
    for folder in (TESTS, path.parent):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Bodies of about 2 KB


def grown(one: Inbound, account: Parses) -> list[Inbound]:
    """The body in all ways it can grow and still be understood; as it is where it cannot."""
    found = [replace(one, body=body) for body in (*_by_rows(one.body), *_by_words(one.body), *_by_noise(one.body))]
    return [each for each in found if 0 < _events(each, account) <= MOST_EVENTS] or [one]


def _events(one: Inbound, account: Parses) -> int:
    try:
        return len(list(account.parse(one)))
    except RmabridgeError:
        return 0


def _by_rows(body: bytes) -> Iterator[bytes]:
    """With the rows of each of its lists told again, each with numbers and times of its own."""
    for place in range(len(list(_lists(_read(body))))):
        document = _read(body)
        rows = list(_lists(document))[place]
        own, number = list(rows), 0
        while len(_write(document, body)) < SIZE - len(json.dumps(own[-1])) // 2:
            rows.append(_varied(own[number % len(own)], number + 1))
            number += 1
        yield _write(document, body)


def _by_words(body: bytes) -> Iterator[bytes]:
    """With more words in its text; a body of another kind, as a mail, goes on with more lines."""
    document = _read(body)
    if document is None:
        yield body + (WORDS + "\n").encode() * ((SIZE - len(body)) // len(WORDS.encode()))
    found = [(one, name) for one in _dicts(document) for name in TEXTS if isinstance(one.get(name), str)]
    for inner, name in found[:1]:
        while len(_write(document, body)) < SIZE - len(WORDS):
            inner[name] += " " + WORDS
        yield _write(document, body)


def _by_noise(body: bytes) -> Iterator[bytes]:
    """With fields beside those that are read, of which vendors send many."""
    document = _read(body)
    number = 0
    while isinstance(document, dict) and len(_write(document, body)) < SIZE - 50:
        number += 1
        document[f"unread_{number}"] = f"{WORDS[:40]}{number}"
    if number:
        yield _write(document, body)


def _read(body: bytes) -> Any:
    """The document with what it holds as JSON in strings opened; None where it is neither JSON nor a form."""
    try:
        return _opened(json.loads(body))
    except ValueError:
        form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=200))
        return _opened(form) if form and b"\n" not in body else None


class Text(dict[str, Any]):
    """A JSON object that is inside a string."""


def _opened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _opened(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_opened(one) for one in value]
    if isinstance(value, str) and value.startswith("{"):
        return Text(_opened(json.loads(value)))
    return value


def _closed(value: Any) -> Any:
    if isinstance(value, list):
        return [_closed(one) for one in value]
    if not isinstance(value, dict):
        return value
    inner = {name: _closed(one) for name, one in value.items()}
    return json.dumps(inner, ensure_ascii=False) if isinstance(value, Text) else inner


def _write(document: Any, like: bytes) -> bytes:
    if like.lstrip()[:1] in {b"{", b"["}:
        return json.dumps(_closed(document), ensure_ascii=False).encode()
    return urlencode(_closed(document)).encode()


def _lists(value: Any) -> Iterator[list[Any]]:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _lists(one)


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(one)


def _varied(value: Any, number: int) -> Any:
    if isinstance(value, Text):
        return Text({name: _varied(one, number) for name, one in value.items()})
    if isinstance(value, dict):
        return {name: _varied(one, number) for name, one in value.items()}
    if isinstance(value, list):
        return [_varied(one, number) for one in value]
    if isinstance(value, str) and sum(one.isdigit() for one in value) > 5:
        return ENDING.sub(lambda found: f"{(int(found[0]) + number) % 60:02}", value, count=1)
    return value + number if type(value) is int and value > LONG_NUMBER else deepcopy(value)


# Times


def cpu_us(call: Callable[[], Any]) -> tuple[float, float]:
    """Microseconds of CPU of one call: warmed, the best and the median of several rounds."""
    for _ in range(5):
        call()
    times = max(2, int(ROUND_SECONDS / max(_once(call, 5), 1e-7)))
    rounds = [_once(call, times) * 1e6 for _ in range(ROUNDS)]
    return round(min(rounds), 1), round(statistics.median(rounds), 1)


def _once(call: Callable[[], Any], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times


def rows() -> list[dict[str, Any]]:
    """For each plugin its slowest body, the slowest plugin first."""
    slowest: dict[str, dict[str, Any]] = {}
    found = contracts()
    gc.freeze()
    gc.set_threshold(*GC)
    for contract in found:
        name = contract.plugin.__module__.removeprefix("rmabridge_").partition(".")[0]
        account, held = contract.account(), slowest.setdefault(name, {"plugin": name, "parse_us": 0.0})
        for row in _parsing(contract, account):
            held.update(row if row["parse_us"] > held["parse_us"] else {})
        for request in contract.accepted(account) if isinstance(contract, WebhookContract) else ():
            used, _ = cpu_us(lambda account=account, one=request: account.verify(one, NOON))
            held["verify_us"] = max(used, held.get("verify_us", 0.0))
    return sorted(slowest.values(), key=lambda one: -one["parse_us"])


def _parsing(contract: ParseContract, account: Any) -> Iterator[dict[str, Any]]:
    for sample in contract.inbound(account):
        for one in grown(sample, account):
            best, median = cpu_us(lambda one=one: list(account.parse(one)))
            told = {"bytes": len(one.body), "events": _events(one, account)}
            yield told | {"parse_us": best, "parse_median_us": median}


def table(found: list[dict[str, Any]]) -> str:
    """The figures to read."""
    lines = [f"{'plugin':<18}{'bytes':>7}{'events':>8}{'parse µs':>10}{'median':>9}{'verify µs':>11}"]
    for one in found:
        mark = "  over" if one["parse_us"] > TARGET_US else ""
        sizes = f"{one['bytes']:>7}{one['events']:>8}{one['parse_us']:>10}{one['parse_median_us']:>9}"
        lines.append(f"{one['plugin']:<18}{sizes}{one.get('verify_us', '-'):>11}{mark}")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and the same as JSON."""
    found = rows()
    print(table(found), file=sys.stderr)
    print(json.dumps({"parsing": found}, indent=2))


if __name__ == "__main__":
    main()
