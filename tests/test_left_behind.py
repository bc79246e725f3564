"""What bridges of the whole run wrote to disk, and what they tell the outside, names nobody."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rmabridge.testing.simulators.sink import Sink
from worlds import World, a_return, document, running

# Buyers of the tests, as their platforms tell of them.
NAMES = ("李雷", "欧阳雪梅", "xuemei.ouyang@example.com", "13987654321", "13812345678", "太小了", "建国路八十八号")
MAILS = tuple(f"buyer{number}@example.com" for number in range(1, 10))
LOST = tuple(one.encode() for one in (*NAMES, *MAILS))
KEPT = {".db", ".db-wal", ".routing", ".part", ".facts"}


def written(folder: Path) -> Iterator[Path]:
    """Databases with their logs, and the files of cases."""
    for one in folder.rglob("*"):
        ours = one.suffix in KEPT or any(above.suffix == ".blobs" for above in one.parents)
        if ours and one.is_file() and one.stat().st_size:
            yield one


def named_in(path: Path) -> list[str]:
    """The buyers that a file names."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return [one.decode() for one in LOST if raw.find(one) >= 0]


async def troubled(world: World) -> list[str]:
    """Let several things go wrong; what the doors answer."""
    world.sink.do_answer(422, f'{{"error": "{NAMES[1]} {NAMES[3]}"}}', times=3)
    told = [str(await world.post(a_return()))]
    told.append(str(await world.post(a_return(2), secret="whsec_" + "A" * 44)))
    told.append(str(await world.post({**a_return(3), "time": f"{NAMES[0]} {MAILS[0]}"})))
    told.append(str(await world.post(f"{{{NAMES[2]}".encode())))
    await world.settle()
    for path in ("/metrics", "/readyz", "/healthz", f"/hooks/{NAMES[2]}", f"/l/{NAMES[3]}", "/oauth/shop?state=x"):
        async with world.client.get(world.bridge.url + path) as answer:
            told.append(await answer.text())
    return told


@pytest.mark.row("P35")
async def test_metrics_health_and_refusals_name_no_buyer(tmp_path: Path, sink: Sink) -> None:
    async with running(document(tmp_path, sink.url), sink) as world:
        told = await troubled(world)
        assert any("rmabridge_refused_total" in one for one in told)
        alerts: list[Any] = world.rows("SELECT text FROM alerts")
        assert alerts
        asked = {NAMES[2]}  # a refused path is told to whoever asked for it
        found = [(name, one) for one in [*told, str(alerts)] for name in {*NAMES, *MAILS} - asked if name in one]
        assert found == []


@pytest.mark.last
@pytest.mark.row("P35")
async def test_no_database_and_no_file_of_the_whole_run_names_a_buyer(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, sink: Sink
) -> None:
    async with running(document(tmp_path, sink.url), sink) as world:
        await troubled(world)
        assert any(one.suffix == ".db-wal" for one in written(tmp_path)) or not [*written(tmp_path)]
    found = {str(one): names for one in written(tmp_path_factory.getbasetemp()) if (names := named_in(one))}
    assert found == {}
