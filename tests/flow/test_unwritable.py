"""Answers of vendors that cannot be written as they are: their own delivery ends, and nobody else's waits for it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from bank import Bank, a_case, act, banking, message, reaches, refund, row
from toybox import noted, send, toybox

from rmabridge.abilities import Result
from rmabridge.errors import Rejected
from rmabridge.flow import dispatcher as module
from rmabridge.flow.endings import Endings
from rmabridge.testing.simulators.sink import Sink
from worlds import World, running


@asynccontextmanager
async def mail_server(code: int) -> AsyncIterator[int]:
    """One that says in GBK, as many in China do, that it does not know odd@; its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx.example.cn ESMTP\r\n")
        told = {b"DATA": b"354 go on", b"QUIT": b"221 bye"}
        while line := await reader.readline():
            verb, answer = line[:4].upper(), told.get(line[:4].upper(), b"250 ok")
            if verb == b"RCPT" and b"odd@" in line:
                answer = str(code).encode() + " 用户不存在".encode("gbk")
            writer.write(answer + b"\r\n")
            if verb == b"DATA":
                while (await reader.readline()) != b".\r\n":
                    pass
                writer.write(b"250 taken\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@pytest.mark.parametrize(("code", "state"), [(550, "dead"), (450, "due")])
async def test_a_mail_server_that_answers_in_gbk_holds_up_nothing(
    tmp_path: Path, sink: Sink, code: int, state: str
) -> None:
    async with mail_server(code) as port, Bank() as bank:
        config = banking(tmp_path, sink.url, bank.url)
        mail = {"plugin": "smtp", "host": "127.0.0.1", "port": port, "tls": "none", "sender": "s@shop.example"}
        config["channels"]["mail"] = {**mail, "allow_private": True}
        async with running(config, sink) as world:
            one, two = await a_case(world, 1), await a_case(world, 2)
            await act(world, one, message("odd", to="odd@buyer.cn"))
            await world.until(lambda: row(world, "odd")["tries"] == 1 and row(world, "odd")["state"] == state)
            assert str(code) in row(world, "odd")["cause"]
            await act(world, two, refund(2))
            await act(world, two, message("fine", to="fine@buyer.cn"))
            await reaches(world, "refund:R2:all", "done")
            await reaches(world, "fine", "done")


Odd = Callable[[], Result]


def rejected() -> Result:
    raise Rejected("550 \udcb2\udcbb \0")


def answering(monkeypatch: pytest.MonkeyPatch, odd: Odd) -> None:
    """Messages with the text ``odd`` end in this way."""
    real = module.attempt

    async def attempt(handler: Any, action: Any, ctx: Any, flight: Any, *, repeatable: bool) -> Any:
        async def method(action: Any, ctx: Any) -> Any:
            return odd() if action.text == "odd" else await handler.method(action, ctx)

        return await real(dataclasses.replace(handler, method=method), action, ctx, flight, repeatable=repeatable)

    monkeypatch.setattr(module, "attempt", attempt)


async def both(world: World, state: str) -> dict[str, Any]:
    """Two messages are sent; the row of the odd one."""
    await a_case(world)
    await send(world, noted("say odd"))
    await send(world, noted("say other"))
    await reaches(world, "say:other", "done")
    found: dict[str, Any] = await reaches(world, "say:odd", state)
    return found


@pytest.mark.parametrize(
    ("odd", "state", "ref", "cause"),
    [
        (rejected, "dead", None, "550 ?? ?"),
        (lambda: Result(id=12345), "done", "12345", None),  # type: ignore[arg-type]
        (lambda: Result(id="x\ud83d"), "done", "x?", None),
        (lambda: Result(refs=("no ref",)), "done", None, "cannot be kept"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_be_written_is_told_in_words_that_can(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch, odd: Odd, state: str, ref: str | None, cause: str
) -> None:
    answering(monkeypatch, odd)
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        found = await both(world, state)
        assert found["ref"] == ref
        assert cause in found["cause"] if cause else found["cause"] is None


async def test_an_ending_that_the_database_refuses_is_written_apart_and_bare(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Endings._ending

    def odd(self: Endings, row: Any, outcome: Any, *more: Any) -> Any:
        ended = real(self, row, outcome, *more)
        if row.key == "say:odd" and outcome.result.id:
            ended.end["link"] = "\ud83d"
        return ended

    monkeypatch.setattr(Endings, "_ending", odd)
    async with running(toybox(tmp_path, sink.url, "scripted"), sink) as world:
        found = await both(world, "done")
        assert "cannot be kept" in found["cause"]
