"""``rmabridge cases record``: the communication record of a case, as a table, on paper and for programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from cli_desk import Desk, desk

from rmabridge.cli.recording import COLUMNS
from rmabridge.config import load
from rmabridge.model import Classified, EvidenceAdded
from rmabridge.store import inbox as inbox_store
from rmabridge.wire.documents import form
from stores import tamper
from worlds import a_return, ago

__all__ = ["desk"]


async def told(desk: Desk) -> str:
    """A case with words of both sides, a decision, a formula and an end."""
    await desk.world.post(a_return(1))
    buyer = {"id": "B1", "name": "李雷"}
    words = {"order": "O1", "text": '=HYPERLINK("http://evil.example")，鞋底开胶了', "buyer": buyer}
    await desk.world.post({"id": "m1", "type": "message", "time": ago(seconds=20), "data": words})
    await desk.world.settle()
    case = await desk.case()
    await desk.answer("cases", "note", case, "看过照片，是质量问题", "--as", "mei")
    await desk.answer("cases", "reply", case, "我们给您换一双", "--as", "mei")
    await desk.world.settle()
    await desk.answer("cases", "close", case, "--result", "exchanged", "--as", "mei")
    return case


@pytest.mark.row("S080")
async def test_one_case_as_csv_and_pdf_with_time_side_words_cause_action_and_result(desk: Desk, tmp_path: Path) -> None:
    case = await told(desk)
    table, paper = tmp_path / "record.csv", tmp_path / "record.pdf"
    for file in (table, paper):
        done = await desk.run(
            "cases", "record", case, "--format", file.suffix[1:], "--locale", "zh-CN", "--output", str(file)
        )
        assert done.exit_code == 0, done.output
    raw = table.read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    head, *rows = csv.reader(io.StringIO(raw.decode("utf-8-sig")))
    assert head == ["时间", "沟通方", "沟通内容", "问题原因", "处理措施", "处理结果"]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    said = {row[2]: row for row in rows}
    buyer = next(row for row in rows if "鞋底开胶" in row[2])
    assert buyer[1] == "买家" and buyer[2].startswith("'=")
    assert said["我们给您换一双"][4:] == ["发送消息", "done"]
    assert said["看过照片，是质量问题"][1] == "mei"
    assert (rows[-1][4] == "结案" and rows[-1][5] == "exchanged") or any(row[4] == "结案" for row in rows)
    assert paper.read_bytes().startswith(b"%PDF") and len(paper.read_bytes()) > 2000


async def test_the_json_has_every_hash_and_the_head_of_the_chain(desk: Desk) -> None:
    case = await told(desk)
    found = json.loads((await desk.run("cases", "record", case, "--format", "json")).stdout)
    assert tuple(found["lines"][0]) == COLUMNS
    assert (found["case"], found["order"], found["result"]) == (case, "#1", "exchanged")
    ((chain, seq),) = desk.world.rows(f"SELECT chain, seq FROM cases WHERE id = '{case}'")
    assert found["chain"] == {"sha256": chain.hex(), "entries": seq, "intact": True}
    address = load(desk.path).bridge.database
    tamper(address, f"UPDATE timeline SET at = at + 1 WHERE case_id = '{case}' AND seq = 2")
    found = json.loads((await desk.run("cases", "record", case, "--format", "json")).stdout)
    assert found["chain"]["intact"] is False


async def test_the_cause_that_was_known_stands_beside_what_followed(desk: Desk) -> None:
    await desk.world.post(a_return(1))
    await desk.world.settle()
    case, bridge = await desk.case(), desk.world.bridge
    said = Classified(
        key="c", at=bridge.store.clock.now(), cause="defect", liable="shop", confidence=0.8, why=("rule",)
    )
    row = bridge.router.event_row([said], "bridge", "c", case_id=case)
    await bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    bridge.router.wake.set()
    await desk.world.settle()
    await desk.answer("cases", "note", case, "after it", "--as", "mei")
    rows = json.loads((await desk.run("cases", "record", case, "--format", "json")).stdout)["lines"]
    causes = {one["words"] or one["action"]: one["cause"] for one in rows}
    assert causes["after it"] == causes["case.classified"] == "defect / shop (0.8): rule"
    assert rows[0]["cause"] == ""


async def test_stored_files_are_listed_and_written_out_to_be_looked_at(desk: Desk, tmp_path: Path) -> None:
    await desk.world.post(a_return(1))
    await desk.world.settle()
    case, bridge = await desk.case(), desk.world.bridge
    name = await bridge.dispatcher.context("mail", "k", case).keep(b"\xff\xd8\xff photo")
    facts = {"evidence": "x:1", "kind": "photo", "name": "../a photo.jpg", "sha256": name, "size": 9}
    added = EvidenceAdded(key="e", at=bridge.store.clock.now(), **facts)  # type: ignore[arg-type]
    row = bridge.router.event_row([added], "bridge", "e", case_id=case)
    await bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    bridge.router.wake.set()
    await desk.world.settle()
    ((one,), folder) = (await desk.answer("cases", "evidence", case, "--save", str(tmp_path / "out")), tmp_path / "out")
    (file,) = folder.iterdir()
    assert file.read_bytes() == b"\xff\xd8\xff photo" and one["file"] == str(file) and one["sha256"] == name
    assert file.name == f"{name[:8]}-.._a_photo.jpg"


@pytest.mark.parametrize("locale", ["zh-CN", "zh-TW", "en"])
def test_long_words_and_strange_characters_fit_on_paper(locale: str) -> None:
    rows = [["2026-01-01", "買家", "很長的話" * 900, "", "😀\x00<b>&", ""], [""] * 6]
    made = form("溝通紀錄表", {"案件": "C1"}, COLUMNS, rows, locale=locale)
    assert made.startswith(b"%PDF") and made == form("溝通紀錄表", {"案件": "C1"}, COLUMNS, rows, locale=locale)
    assert (b"MSung-Light" in made) == (locale == "zh-TW")


LONG = "经与买家电话沟通确认，买家反映收到的水壶底部有裂纹并且漏水，我们已请仓库核对出库照片，确认出库时完好，" * 8


async def test_a_long_result_in_a_narrow_column_fits_on_paper(desk: Desk, tmp_path: Path) -> None:
    await desk.world.post(a_return(1))
    await desk.world.settle()
    case = await desk.case()
    await desk.answer("cases", "close", case, "--result", LONG)
    done = await desk.run("cases", "record", case, "--format", "pdf", "--output", str(tmp_path / "record.pdf"))
    assert done.exit_code == 0, done.output


async def test_json_is_asked_for_and_json_is_printed(desk: Desk) -> None:
    case = await told(desk)
    assert (await desk.answer("cases", "record", case))["case"] == case
    result = await desk.run("cases", "record", case, "--format", "pdf", "--json")
    assert (result.exit_code, "--output" in result.stderr) == (2, True)
