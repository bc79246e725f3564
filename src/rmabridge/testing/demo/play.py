"""``rmabridge demo``: the stories in their order, the closing table, and the end of everything that was started."""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import click

from . import chats, closing, overseas, stories, threads
from .people import secrets
from .processes import Failed
from .scan import scan
from .show import Show
from .words import words
from .world import World

# A shell that starts the demo in the background ignores SIGINT for it, so the handler is set for that, too.
ENDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(language: str, folder: Path | None, *, once: bool, as_json: bool) -> int:
    """Run the demo; the exit code."""
    show = Show(words(language), stderr=as_json)
    if find_spec("aiosmtpd") is None:
        show.console.print(show.say("no_smtp"))
        return 1
    report: dict[str, Any] = {"ok": False, "reason": None, "cases": []}
    code = 1
    with _ended_like_interrupted(), _folder(folder) as place:
        try:
            with World(place) as world:
                _perform(world, show, report)
                code = 0 if report["ok"] else 1
                _print(report, as_json)
                if not once:
                    _linger(world, show, report)
        except Failed as failed:
            report |= {"ok": False, "reason": str(failed)}
            show.warn("failed", *str(failed).splitlines())
            _print(report, as_json)
            code = 1
        except KeyboardInterrupt:
            code = 130 if not report["ok"] else code
        if folder is not None:
            show.tell("kept", folder=folder)
    show.tell("stopped")
    return code


def _perform(world: World, show: Show, report: dict[str, Any]) -> None:
    """All eight stories, then the books; those that move no clock are played side by side, and told in their order."""
    show.tell("starting")
    with show.waiting():
        world.ready()
        report["ready_seconds"] = round(show.seconds, 2)
        show.tell("up", seconds=f"{show.seconds:.1f}")
        first = _story(show, "story_return", lambda: stories.a_return(world, show.tell))
        report["first_story_seconds"] = round(show.seconds, 2)
        _story(show, "story_trouble", lambda: stories.troublemakers(world, show.tell, first))
        second = _story(show, "story_kill", lambda: stories.survivor(world, show.tell))
        relayed, damaged, wrong = show.apart(), show.apart(), show.apart()
        _, *threads_ = world.together(
            lambda: stories.relay(world, relayed.tell),
            lambda: threads.damaged(world, damaged.tell),
            lambda: threads.wrong_item(world, wrong.tell),
        )
        show.story("story_relay")
        relayed.read_out()
        show.story("story_damage")
        damaged.read_out()
        parcel = _story(show, "story_silent", lambda: overseas.insured(world, show.tell))
        show.story("story_wrong")
        wrong.read_out()
        chat = _story(show, "story_chat", lambda: chats.five_lines(world, show.tell))
        show.console.print()
        show.tell("reading")
        read = closing.read(world, {one.case: one.reply_ms for one in (first, second, *threads_, parcel, chat)})
        found = scan(world.folder, secrets(), [one["id"] for one in read.rows])
    show.tell("scanned_files", bytes=found.bytes, looked_for=found.looked_for, found=len(found.found))
    problems = [*read.problems, *found.found]
    report |= {"cases": read.rows, "scan": asdict(found), "compared": {"bridge": read.bridge, "books": read.books}}
    report |= {"seconds": round(show.seconds, 2), "ok": not problems, "reason": "; ".join(problems) or None}
    show.table(read.rows)
    if problems:
        show.warn("difference", *problems)
    else:
        show.tell("no_difference", number=read.points)


def _story(show: Show, key: str, run: Callable[[], Any]) -> Any:
    show.story(key)
    return run()


def _print(report: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False, indent=2))


def _linger(world: World, show: Show, report: dict[str, Any]) -> None:
    """Keep the world running until Ctrl-C."""
    show.console.print()
    show.tell("running", folder=world.folder)
    for name in world.children:
        show.console.print(f"  {name:9} {world.url(name)}")
    show.hints(_hints(world, report["cases"]))
    while True:
        time.sleep(0.5)
        world.follow()
        for child in world.children.values():
            child.check()


def _hints(world: World, rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    config = f"--config {world.config}"
    case = rows[0] if rows else {"id": "CASE", "ticket": "TICKET"}
    agent = json.dumps({"ticket_id": case["ticket"], "text": "Hello again"})
    return [
        ("try_list", f"rmabridge cases list --all {config}"),
        ("try_explain", f"rmabridge explain {case['id']} {config}"),
        ("try_order", f'curl -sX POST {world.url("shopify")}/_do/place_order -d \'{{"email": "you@buyers.example"}}\''),
        ("try_order", f'curl -sX POST {world.url("shopify")}/_do/request_return -d \'{{"order_id": "9003"}}\''),
        ("try_agent", f"curl -sX POST {world.url('zendesk')}/_do/agent_reply -d '{agent}'"),
        ("try_mails", f"curl -s {world.url('mail')}/_books"),
        ("try_clock", f"rmabridge clock advance 3h {config}"),
    ]


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Where the demo's files are: a directory that vanishes, or one to keep."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="rmabridge-demo-", ignore_cleanup_errors=True) as made:
        yield Path(made)


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Every polite end is a Ctrl-C, so that the demo takes its children with it; ``nohup`` keeps its meaning."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    heard = [one for one in ENDED if one is not signal.SIGHUP or signal.getsignal(one) is not signal.SIG_IGN]
    before = {one: signal.signal(one, stop) for one in heard}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
