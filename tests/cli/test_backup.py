"""A backup of everything, taken while the bridge is served, and put back into an empty store of either kind."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cli_desk import Desk, desk, run, write

import stores
from rmabridge.cli.copying import at_one_instant
from rmabridge.cli.rows import broken_chains, lines
from rmabridge.config import load
from rmabridge.flow.bridge import Running
from rmabridge.model import EvidenceAdded
from rmabridge.store import inbox as inbox_store
from rmabridge.store.tables import metadata
from worlds import KEY, World, a_return, document

__all__ = ["desk"]
PHOTO = b"\xff\xd8\xff photo" * 9000


async def lived(desk: Desk) -> str:
    """Two cases, one with a file; its case."""
    for number in (1, 2):
        assert (await desk.world.post(a_return(number)))[0] == 200
    await desk.world.settle()
    case, bridge = await desk.case(), desk.world.bridge
    name = await bridge.dispatcher.context("mail", "k", case).keep(PHOTO)
    facts: dict[str, Any] = {
        "evidence": "x:1",
        "kind": "photo",
        "name": "photo.jpg",
        "sha256": name,
        "size": len(PHOTO),
    }
    added = EvidenceAdded(key="e", at=bridge.store.clock.now(), **facts)
    row = bridge.router.event_row([added], "bridge", "e", case_id=case)
    await bridge.store.write(lambda conn: inbox_store.add(conn, [row]))
    bridge.router.wake.set()
    await desk.world.settle()
    return case


def elsewhere(desk: Desk, folder: Path, **bridge: Any) -> Path:
    """The same configuration on an empty database in another folder."""
    folder.mkdir()
    sink = desk.world.sink.url
    given = {"database": stores.empty(folder), "keys": [KEY], "blobs": str(folder / "files"), **bridge}
    return write(folder / "rmabridge.toml", document(folder, sink, **given))


def contents(path: Path) -> dict[str, Counter[bytes]]:
    """Every row of the store of a configuration."""

    def read(conn: Any) -> dict[str, Counter[bytes]]:
        return {name: Counter(lines(conn, one, list(one.c.keys()))) for name, one in metadata.tables.items()}

    return at_one_instant(load(path).bridge, path.parent, read)


@pytest.mark.row("P55")
async def test_what_was_backed_up_is_restored_row_by_row_and_the_bridge_goes_on(desk: Desk, tmp_path: Path) -> None:
    case, file = await lived(desk), tmp_path / "all.backup"
    told = await desk.answer("backup", str(file), "--with-key")
    assert (told["rows"]["cases"], told["files"]["number"], told["missing_files"]) == (2, 1, [])
    assert file.stat().st_mode & 0o777 == 0o600
    new = elsewhere(desk, tmp_path / "new", keys=[])
    restored = json.loads((await asyncio.to_thread(run, new, "restore", str(file), json_=True)).stdout)
    assert restored["rows"] == told["rows"] and restored["broken_chains"] == []
    before, after = [await asyncio.to_thread(contents, one) for one in (desk.path, new)]
    assert {name: one for name, one in after.items() if name not in {"audit", "cursors"}}.items() <= before.items()
    async with Running(load(new)) as bridge, aiohttp.ClientSession() as client:
        world = World(bridge, desk.world.sink, client)
        ((key, name),) = world.rows("SELECT key_id, sha256 FROM evidence")
        bridge.store.keys_for({key})
        assert bridge.store.blobs.get(key, name) == PHOTO
        assert world.rows(f"SELECT count(*) FROM cases WHERE id = '{case}'") == [(1,)]
        assert (await world.post(a_return(1), name="again"))[0] == 200, "known already: no third case"
        assert (await world.post(a_return(3), name="new"))[0] == 200
        await world.settle()
        assert world.rows("SELECT count(*) FROM cases") == [(3,)]


async def test_accounts_that_have_moved_money_are_paused_unless_the_bridge_only_moved(
    desk: Desk, tmp_path: Path
) -> None:
    await lived(desk)
    file = tmp_path / "all.backup"
    await desk.world.bridge.store.write(lambda conn: conn.exec_driver_sql("UPDATE outbox SET money = true"))
    ((used,),) = desk.world.rows("SELECT DISTINCT account FROM outbox WHERE account = 'mail'")
    await desk.answer("backup", str(file), "--with-key")
    for number, more in enumerate(([], ["--moved"])):
        new = elsewhere(desk, tmp_path / f"new{number}", keys=[])
        result = await asyncio.to_thread(run, new, "restore", str(file), *more, json_=True)
        assert (used in json.loads(result.stdout)["paused"]) == (not more)
        paused = stores.rows_of(load(new).bridge.database, "SELECT reason FROM accounts WHERE paused")
        assert bool(paused) == (not more)
        assert all("restored from a backup" in reason for (reason,) in paused)


async def test_the_key_is_only_in_it_when_asked_for_and_both_are_said(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    ring = load(desk.path).bridge
    raw = ring.keys[0].get_secret_value() if ring.keys else ring.path.with_suffix(".key").read_text().strip()
    without = await desk.run("backup", str(tmp_path / "without"))
    assert "is NOT in it" in without.stderr and raw.encode() not in (tmp_path / "without").read_bytes()
    with_it = await desk.run("backup", str(tmp_path / "with"), "--with-key")
    assert "IS in" in with_it.stderr and raw.encode() in (tmp_path / "with").read_bytes()
    for secret in ("李雷", "+8613812345678"):
        assert secret.encode() not in (tmp_path / "with").read_bytes()


async def test_without_any_key_nothing_is_restored_and_the_way_out_is_told(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file))
    new = elsewhere(desk, tmp_path / "new", keys=[])
    refused = await asyncio.to_thread(run, new, "restore", str(file))
    assert refused.exit_code == 4 and "put the key file" in refused.stderr
    other = elsewhere(desk, tmp_path / "other", keys=["b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="])
    wrong = await asyncio.to_thread(run, other, "restore", str(file))
    assert wrong.exit_code == 3 and "not in the ring" in wrong.stderr
    assert (await asyncio.to_thread(run, other, "backup", str(tmp_path / "x"))).exit_code == 4, "nothing was written"


async def test_a_store_that_holds_anything_is_not_restored_into(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file))
    refused = await desk.run("restore", str(file))
    assert refused.exit_code == 4
    assert "not empty" in refused.stderr or "a bridge serves it" in refused.stderr
    again = await desk.run("backup", str(file))
    assert again.exit_code == 4 and "exists already" in again.stderr


@pytest.mark.parametrize("where", ["tables/timeline.jsonl", "files/", "manifest.json"])
async def test_a_backup_in_which_one_byte_was_changed_is_refused(desk: Desk, tmp_path: Path, where: str) -> None:
    await lived(desk)
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file))
    assert (await desk.run("restore", str(file), "--check")).stdout.startswith(f"{file}: whole")
    with tarfile.open(file) as tar:
        member = next(one for one in tar.getmembers() if one.name.startswith(where))
    raw = bytearray(file.read_bytes())
    at = member.offset_data + member.size // 2
    raw[at] ^= 1
    file.write_bytes(raw)
    new = elsewhere(desk, tmp_path / "new")
    refused = await asyncio.to_thread(run, new, "restore", str(file))
    assert refused.exit_code == 4, refused.output
    assert (await asyncio.to_thread(run, new, "backup", str(tmp_path / "x"))).exit_code == 4, "nothing was written"


async def test_a_backup_that_was_cut_is_refused(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    refused = await desk.run("restore", str(file), "--check")
    assert refused.exit_code == 4 and "not a whole backup" in refused.stderr


async def test_a_file_that_no_name_of_ours_may_have_is_not_written(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    file, bad = tmp_path / "all.backup", tmp_path / "bad.backup"
    await desk.answer("backup", str(file), "--with-key")
    with tarfile.open(file) as tar, tarfile.open(bad, "w") as out:
        entries = {one.name: tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]
        manifest = json.loads(entries.pop("manifest.json"))
        listed = json.dumps(["../../evil", 1, "0" * 64]).encode() + b"\n"
        manifest["files"]["sha256"] = hashlib.sha256(listed).hexdigest()
        raw = json.dumps(manifest).encode()
        entries |= {
            "files.jsonl": listed,
            "manifest.json": raw,
            "manifest.sha256": hashlib.sha256(raw).hexdigest().encode(),
        }
        for name, data in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    done = await asyncio.to_thread(run, elsewhere(desk, tmp_path / "new", keys=[]), "restore", str(bad))
    assert done.exit_code == 0
    assert not list(tmp_path.rglob("evil"))


async def test_a_broken_chain_is_carried_and_told(desk: Desk, tmp_path: Path) -> None:
    case = await lived(desk)
    stores.tamper(
        load(desk.path).bridge.database, f"UPDATE timeline SET at = at + 1 WHERE case_id = '{case}' AND seq = 2"
    )
    result = await desk.run("backup", str(tmp_path / "all.backup"))
    assert result.exit_code == 1 and case in result.stderr


async def test_evidence_whose_file_is_gone_is_told(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    (file,) = desk.world.bridge.store.blobs.folder.glob("*/*")
    file.unlink()
    result = await desk.run("backup", str(tmp_path / "all.backup"))
    assert result.exit_code == 1 and "1 pieces of evidence" in result.stderr


@pytest.mark.row("P55")
async def test_under_load_nothing_in_a_backup_is_torn(desk: Desk, tmp_path: Path) -> None:
    """Cases, timelines, actions and inbox rows of one commit are all there or all missing."""
    stopping = False

    async def load_it() -> None:
        number = 100
        while not stopping:
            await desk.world.post(a_return(number := number + 1))

    loading = asyncio.create_task(load_it())
    try:
        for number in range(3):
            await desk.world.until(lambda n=number: desk.world.rows("SELECT count(*) FROM cases")[0][0] > 5 * n)
            await desk.answer("backup", str(tmp_path / f"{number}.backup"), "--with-key")
    finally:
        stopping = True
        await loading
    for number in range(3):
        new = elsewhere(desk, tmp_path / f"new{number}", keys=[])
        result = await asyncio.to_thread(run, new, "restore", str(tmp_path / f"{number}.backup"), json_=True)
        assert (result.exit_code, json.loads(result.stdout)["broken_chains"]) == (0, []), result.output
        assert await asyncio.to_thread(at_one_instant, load(new).bridge, new.parent, torn) == []


def torn(conn: Any) -> list[Any]:
    """Rows that belong together and do not stand together."""
    queries = (
        "SELECT id FROM cases WHERE seq != (SELECT max(seq) FROM timeline WHERE case_id = cases.id)",
        "SELECT id FROM outbox WHERE case_id NOT IN (SELECT id FROM cases)",
        "SELECT id FROM inbox WHERE state = 'done' AND kind = 'hook' AND case_id NOT IN (SELECT id FROM cases)",
        "SELECT key_id FROM cases WHERE key_id NOT IN (SELECT id FROM buyer_keys)",
        "SELECT key_id FROM inbox WHERE key_id NOT IN (SELECT id FROM buyer_keys)",
    )
    return [*broken_chains(conn), *(one for query in queries for one in conn.exec_driver_sql(query))]


async def test_a_file_that_a_killed_restore_has_begun_does_not_stand_in_the_way_of_the_next(
    desk: Desk, tmp_path: Path
) -> None:
    await lived(desk)
    file, new = tmp_path / "all.backup", elsewhere(desk, tmp_path / "new", keys=[])
    await desk.answer("backup", str(file), "--with-key")
    [kept] = [one for one in desk.world.bridge.store.blobs.folder.glob("*/*") if one.is_file()]
    begun = tmp_path / "new" / "files" / kept.parent.name / f"{kept.name}.tmp"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"half")
    result = await asyncio.to_thread(run, new, "restore", str(file))
    assert result.exit_code == 0, result.output
    assert (begun.exists(), begun.with_suffix("").exists()) == (False, True)


async def test_no_backup_claims_to_hold_a_key_that_does_not_open_it(desk: Desk, tmp_path: Path) -> None:
    await lived(desk)
    (tmp_path / "laptop").mkdir()
    given = {"database": load(desk.path).bridge.database, "keys": [base64.b64encode(b"x" * 32).decode()]}
    found = document(tmp_path, desk.world.sink.url, **given)
    other = write(tmp_path / "laptop" / "rmabridge.toml", found)
    result = await asyncio.to_thread(run, other, "backup", str(tmp_path / "b"), "--with-key")
    assert result.exit_code != 0
    assert "is not in the ring" in result.output
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("odd", ["{key}/.DS_Store", "lost+found/x", "older/2026-11-21.backup", "partial/notes.txt"])
async def test_files_that_somebody_put_beside_the_kept_ones_keep_nothing_from_being_restored(
    desk: Desk, tmp_path: Path, odd: str
) -> None:
    await lived(desk)
    folder = load(desk.path).bridge.folder
    stray = folder / odd.format(key=next(one.name for one in folder.iterdir() if len(one.name) == 32))
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"x")
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file), "--with-key")
    new = elsewhere(desk, tmp_path / "new", keys=[])
    assert (await asyncio.to_thread(run, new, "restore", str(file))).exit_code == 0


async def test_an_account_that_can_pay_is_paused_though_it_had_not_paid_before_the_backup(
    desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file), "--with-key")
    new = elsewhere(desk, tmp_path / "new", keys=[])
    doc = document(tmp_path / "new", desk.world.sink.url, keys=[], blobs=str(tmp_path / "new" / "files"))
    doc["bridge"]["database"] = load(new).bridge.database
    doc["services"] = {"bank": {"plugin": "http", "url": desk.world.sink.url, "calls": {"refund.pay": {}}}}
    result = await asyncio.to_thread(run, write(new, doc), "restore", str(file), json_=True)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["paused"] == ["bank"]


async def test_a_restore_that_fails_leaves_no_key_behind(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "all.backup"
    await desk.answer("backup", str(file), "--with-key")
    new = elsewhere(desk, tmp_path / "new", keys=[])
    monkeypatch.setattr("rmabridge.cli.backup._readable", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(run, new, "restore", str(file))
    monkeypatch.undo()
    assert (await asyncio.to_thread(run, new, "restore", str(file))).exit_code == 0
