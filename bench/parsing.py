"""``make bench BENCH='--only parsing'``: the CPU time of ``parse`` and ``verify`` for each plugin that receives anything.

The bodies are those of the plugins' contract tests, grown to about 2 KB as the vendor's own are: with more lines, scans
or messages, else with longer words. What cannot grow (a sealed body) is timed as it is. ``verify`` is timed with the
signed sample, whose signature covers its own bytes alone. The slowest body of a plugin counts.
"""

from __future__ import annotations

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
from rmabridge.testing.contexts import NOON
from rmabridge.testing.contract import ParseContract, WebhookContract

TESTS: Final = Path(__file__).parents[1] / "tests"
SIZE: Final = 2048
ROUNDS: Final = 7
ROUND_SECONDS: Final = 0.02
TARGET_US: Final = 200.0
WORDS: Final = "The cup arrived with a crack from the rim to the handle. 杯子收到就碎了，请退款。 "
TEXTS: Final = ("text", "content", "body", "Body", "note", "desc", "remark", "description", "context")
ENDING: Final = re.compile(r"\d\d(?=(\.\d+)?(Z|[+-]\d\d:?\d\d)?$)")
LONG_NUMBER: Final = 1000


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
    """A file of tests, imported as pytest does."""
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


def grown(one: Inbound, account: Parses) -> Inbound:
    """The largest of the grown bodies that still means something to the plugin, else the body as it is."""
    made = (replace(one, body=body) for grow in (_by_rows, _by_words) for body in [grow(one.body)] if body)
    sound = [each for each in made if _means(each, account)]
    return max(sound, key=lambda each: len(each.body), default=one)


def _means(one: Inbound, account: Parses) -> bool:
    try:
        return bool(list(account.parse(one)))
    except RmabridgeError:
        return False


def _by_rows(body: bytes) -> bytes | None:
    """With the rows of its longest list told again, each with numbers and times of its own."""
    document = _read(body)
    rows = max(_lists(document), key=lambda one: len(json.dumps(one)), default=None)
    if not rows:
        return None
    own, number = list(rows), 0
    while len(_write(document, body)) < SIZE - len(json.dumps(own[-1])) // 2:
        rows.append(_varied(own[number % len(own)], number + 1))
        number += 1
    return _write(document, body)


def _by_words(body: bytes) -> bytes | None:
    """With more words in its text; a body of another kind, as a mail, goes on with more lines."""
    document = _read(body)
    if document is None:
        return body + (WORDS + "\n").encode() * ((SIZE - len(body)) // len(WORDS.encode()))
    for inner in _dicts(document):
        for name in TEXTS:
            if isinstance(inner.get(name), str) and not inner[name].startswith(("{", "[")):
                while len(_write(document, body)) < SIZE - len(WORDS):
                    inner[name] += " " + WORDS
                return _write(document, body)
    return None


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


def cpu_us(call: Callable[[], Any]) -> float:
    """Microseconds of CPU of one call: warmed, the median of several rounds."""
    for _ in range(5):
        call()
    times = max(5, int(ROUND_SECONDS / max(_once(call, 5), 1e-7)))
    return statistics.median(_once(call, times) for _ in range(ROUNDS)) * 1e6


def _once(call: Callable[[], Any], times: int) -> float:
    started = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - started) / times


def rows() -> list[dict[str, Any]]:
    """For each plugin its slowest body, the slowest plugin first."""
    slowest: dict[str, dict[str, Any]] = {}
    for contract in contracts():
        name = contract.plugin.__module__.removeprefix("rmabridge_").partition(".")[0]
        for row in _timed(contract, contract.account()):
            if row["parse_us"] > slowest.get(name, row)["parse_us"] or name not in slowest:
                slowest[name] = {"plugin": name, **row}
    return sorted(slowest.values(), key=lambda one: -one["parse_us"])


def _timed(contract: ParseContract, account: Any) -> Iterator[dict[str, Any]]:
    requests = contract.accepted(account) if isinstance(contract, WebhookContract) else []
    verify = max((cpu_us(lambda one=one: account.verify(one, NOON)) for one in requests), default=None)
    for one in contract.inbound(account):
        body = grown(one, account)
        used = cpu_us(lambda body=body: list(account.parse(body)))
        events = len(list(account.parse(body)))
        told = {"bytes": len(body.body), "events": events, "parse_us": round(used, 1)}
        yield told | {"verify_us": round(verify, 1) if verify is not None else None}


def table(found: list[dict[str, Any]]) -> str:
    """The figures to read."""
    lines = [f"{'plugin':<18}{'bytes':>7}{'events':>8}{'parse µs':>10}{'verify µs':>11}"]
    for one in found:
        verify = "-" if one["verify_us"] is None else one["verify_us"]
        mark = "  over" if one["parse_us"] > TARGET_US else ""
        lines.append(
            f"{one['plugin']:<18}{one['bytes']:>7}{one['events']:>8}{one['parse_us']:>10}{verify:>11}{mark}"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table, and the same as JSON."""
    found = rows()
    print(table(found), file=sys.stderr)
    print(json.dumps({"parsing": found}, indent=2))


if __name__ == "__main__":
    main()
