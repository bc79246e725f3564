"""``report.py RESULTS``: the tables of docs/performance*.md and the chart, from figures that were measured."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from chart import chart, figure

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"(<!-- measured: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
CHINESE = json.loads((Path(__file__).parent / "words.zh.json").read_text(encoding="utf-8"))
Say = Callable[[str], str]
LANGUAGES: dict[str, Say] = {"performance.md": str, "performance.zh-CN.md": lambda one: CHINESE.get(one, one)}


def rows_of(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The contenders by name."""
    return {one["name"]: one for one in found.get("peers", {}).get("contenders", ())}


def table(head: Iterable[str], rows: Iterable[Iterable[str]], say: Say) -> str:
    """A table in Markdown; the first column is text, the others are figures."""
    names = [say(one) for one in head]
    lines = [names, ["---", *["---:"] * (len(names) - 1)], *map(list, rows)]
    return "".join(f"| {' | '.join(one)} |\n" for one in lines)


def peers(found: dict[str, Any], say: Say) -> str:
    """Everybody who was compared."""
    compared, bare = found.get("peers"), rows_of(found).get("bare")
    if not compared:
        return say("not measured") + "\n"
    head = ("who", "version", "accepted/s", "of bare", "ack p50 ms", "ack p99 ms", "deliveries/s", "CPU ms/event")
    rows = [
        [
            say(one["title"]),
            one["version"],
            figure(one["accepted_per_second"]),
            f"{one['accepted_per_second'] / bare['accepted_per_second']:.3f}" if bare else "–",
            *(figure(one.get(name)) for name in ("p50_ms", "p99_ms", "deliveries_per_second", "cpu_ms_per_event")),
            figure(one["memory_mb"]),
            survival(one["kill"], say),
            f"{one['load']:.1f}",
        ]
        for one in compared["contenders"]
    ]
    told = (
        f"{say('Measured')} {compared['at']}: {compared['cores']} {say('cores')}, Python {compared['python']}, "
        f"{compared['connections']} {say('connections')}, {say('medians of')} {compared['rounds']}.\n"
    )
    missing = [f"{say('Left out')}: {say(name)} ({reason})." for name, reason in compared["left_out"].items()]
    return (
        table((*head, "memory MB", "after kill -9", "load"), rows, say)
        + "\n"
        + told
        + "".join(missing and ["\n", *missing, "\n"])
    )


def survival(kill: dict[str, int], say: Say) -> str:
    """How many of the acknowledged events were not lost."""
    if not kill["acknowledged"]:
        return say("acknowledges nothing")
    return f"{kill['survived']} {say('of')} {kill['acknowledged']}"


def events(found: dict[str, Any], say: Say) -> str:
    """CPU of the full event on each database."""
    shared = found.get("postgresql", {})
    known = (
        ("SQLite", "all", found.get("full_event")),
        ("SQLite", "six", found.get("full_event_spine")),
        ("SQLite", "all", found.get("full_event_stored")),
        ("PostgreSQL", "all", shared.get("all")),
        ("PostgreSQL", "all", shared.get("all, two processes")),
        ("PostgreSQL", "six", shared.get("spine")),
    )
    rows = [
        [
            database,
            say(policies),
            str(one.get("processes", 1)),
            f"{one['cases']:,}" if "cases" in one else "–",
            *(figure(one.get(name)) for name in ("cpu_ms_per_event", "server_cpu_ms_per_event", "events_per_second")),
            f"{one['load']:.1f}",
        ]
        for database, policies, one in known
        if one
    ]
    head = ("on", "policies", "processes", "stored cases", "CPU ms/event", "server CPU ms/event", "events/s", "load")
    return table(head, rows, say)


def profile(found: dict[str, Any], say: Say) -> str:
    """Where the CPU of a full event goes."""
    if not (taken := found.get("profile")):
        return say("not measured") + "\n"
    rows = [[say(name), f"{share:.0%}"] for name, share in taken["shares"].items()]
    told = f"{taken['samples']} {say('samples')}, {say('load')} {taken['load']:.1f}.\n"
    return table(("part", "share"), rows, say) + "\n" + told


def targets(found: dict[str, Any], say: Say) -> str:
    """What was aimed at, and whether it was reached."""
    rows = [
        [say(name), say("not measured") if value is None else figure(value), _met(value, good, say)]
        for name, value, good in _targets(found)
    ]
    return table(("target", "measured", "met"), rows, say)


def _met(value: float | None, good: Callable[[float], bool], say: Say) -> str:
    return "–" if value is None else say("yes") if good(value) else say("**no**")


def _targets(found: dict[str, Any]) -> list[tuple[str, float | None, Callable[[float], bool]]]:
    rows, shared = rows_of(found), found.get("postgresql", {})
    bridge, red, one, two = (
        rows.get("bridge"),
        rows.get("node-red"),
        shared.get("all"),
        shared.get("all, two processes"),
    )
    few, many = found.get("full_event"), found.get("full_event_stored")
    kill = bridge and bridge["kill"]
    cpu = "cpu_ms_per_event"
    return [
        (
            "accepts more than Node-RED while everything is processed",
            _ratio(bridge, red, "deliveries_per_second"),
            lambda value: value > 1,
        ),
        (
            "accepts more than 4 times as many as Node-RED with a backlog",
            _ratio(bridge, red, "accepted_per_second"),
            lambda value: value > 4,
        ),
        ("CPU of a full event on SQLite at most 3.0 ms", few and few[cpu], lambda value: value <= 3.0),
        (
            "all policies together at most 0.5 ms for each event that they are asked about",
            (asked := found.get("policies")) and asked["ms_per_event_asked"],
            lambda value: value <= 0.5,
        ),
        ("CPU of a full event on PostgreSQL at most 3.5 ms", one and one[cpu], lambda value: value <= 3.5),
        ("and of its server at most 0.7 ms", one and one["server_cpu_ms_per_event"], lambda value: value <= 0.7),
        ("two processes at most 1.15 times the CPU of one", _ratio(two, one, cpu), lambda value: value <= 1.15),
        (
            "at most 1.2 times from 10^3 to 10^6 stored cases",
            _ratio(many, few, cpu) if many and many["cases"] >= 1_000_000 else None,
            lambda value: value <= 1.2,
        ),
        (
            "every acknowledged event survives kill -9",
            kill and kill["survived"] / kill["acknowledged"],
            lambda value: value == 1,
        ),
    ]


def _ratio(one: dict[str, Any] | None, other: dict[str, Any] | None, name: str) -> float | None:
    return one[name] / other[name] if one and other else None


def written(text: str, found: dict[str, Any], say: Say) -> str:
    """A document with its tables made anew."""
    made = {"peers": peers, "events": events, "targets": targets, "profile": profile}
    return BLOCK.sub(lambda block: block[1] + made[block[2]](found, say) + block[3], text)


def main() -> None:
    """Write the documents and the chart."""
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, say in LANGUAGES.items():
        path = DOCS / name
        path.write_text(written(path.read_text(encoding="utf-8"), found, say), encoding="utf-8")
    (DOCS / "performance.svg").write_text(chart(list(rows_of(found).values())), encoding="utf-8")


if __name__ == "__main__":
    main()
