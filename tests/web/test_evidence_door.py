"""The evidence door over real HTTP: a page, files in pieces, and an end."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.core.links import Link
from rmabridge.errors import Malformed, Rejected
from rmabridge.flow.files import Files
from rmabridge.model import Case
from rmabridge.store.blobs import PIECE
from rmabridge.testing.simulators.sink import Sink
from rmabridge.web.tus import need_of
from rmabridge.wire.filetypes import told
from worlds import World, a_return, document, running

JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01Exif-GPS-30.27N"
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {**TUS, "Content-Type": "application/offset+octet-stream"}


def config(tmp_path: Path, sink: str, **bridge: Any) -> dict[str, Any]:
    """A small bridge whose one policy asks for evidence."""
    given_ = {"policies": ["evidence"], "public_url": "https://service.example.com"}
    found = document(tmp_path, sink, **{**given_, **bridge})
    found["marketplaces"]["shop"]["events"][0]["set"]["issue"] = "'quality_defect'"
    found["policies"] = {"evidence": {"most_files": 6, "most_bytes": 4 << 20}}
    return found


class Buyer:
    """A buyer with a link and a phone."""

    def __init__(self, world: World, path: str) -> None:
        self.world, self.path = world, path

    @property
    def base(self) -> str:
        return self.world.bridge.url + self.path

    async def page(self, language: str = "zh-CN") -> tuple[int, str, Any]:
        async with self.world.client.get(self.base, headers={"Accept-Language": language}) as answer:
            return answer.status, await answer.text(), answer.headers

    async def begin(self, length: int, need: str = "overview", **headers: str) -> tuple[int, str]:
        meta = {"Upload-Length": str(length), "Upload-Metadata": f"need {base64.b64encode(need.encode()).decode()}"}
        async with self.world.client.post(f"{self.base}/files", headers=TUS | meta | headers) as answer:
            return answer.status, answer.headers.get("Location", "")

    async def patch(self, place: str, offset: int, data: Any, **headers: str) -> tuple[int, int]:
        given_ = PATCH | {"Upload-Offset": str(offset)} | headers
        async with self.world.client.patch(self.world.bridge.url + place, data=data, headers=given_) as answer:
            return answer.status, int(answer.headers.get("Upload-Offset", -1))

    async def offset(self, place: str) -> tuple[int, int]:
        async with self.world.client.head(self.world.bridge.url + place, headers=TUS) as answer:
            return answer.status, int(answer.headers.get("Upload-Offset", -1))

    async def send(self, data: bytes, need: str = "overview") -> int:
        status, place = await self.begin(len(data), need)
        return (await self.patch(place, 0, data))[0] if status == 201 else status

    async def done(self) -> int:
        async with self.world.client.post(f"{self.base}/done") as answer:
            await answer.read()
            return answer.status


async def asked(world: World, number: int = 1) -> Buyer:
    """A case whose buyer was sent a link; the link as it stands in the mail."""
    assert (await world.post(a_return(number)))[0] == 200
    await world.settle()
    mails = [one["body"] for one in world.sink.books["posts"] if one["body"]["type"] == "message.send"]
    text = next(str(one) for one in reversed(mails) if "/l/" in str(one))
    return Buyer(world, re.findall(r"/l/[A-Za-z0-9_-]+", text)[0])


@pytest.fixture
async def here(tmp_path: Path, sink: Sink) -> AsyncIterator[World]:
    async with running(config(tmp_path, sink.url), sink) as one:
        yield one


def case(world: World, number: int = 0) -> Case:
    key, doc = world.rows("SELECT key_id, doc FROM cases ORDER BY created_at, opened_at")[number]
    world.bridge.store.keys_for({key})
    return Case.model_validate_json(world.bridge.store.vault.open(key, doc))


async def test_the_page_speaks_the_buyer_s_language_and_names_item_deadline_and_what_is_missing(here: World) -> None:
    buyer = await asked(here)
    status, text, headers = await buyer.page("en")
    assert status == 200 and '<html lang="zh-CN">' in text
    for part in ("鞋", "整体照片", "问题处近照 ×2", "已交 0 / 共 2", "请在 20"):
        assert part in text, part
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.findall(r'(?:src|href)\s*=\s*"', text) and headers["Referrer-Policy"] == "no-referrer"
    nonce = re.search(r"script-src 'nonce-([^']+)'", policy)
    assert nonce and text.count(f'nonce="{nonce[1]}"') == 2
    assert await buyer.send(JPEG) == 204
    await here.settle()
    _, text, _ = await buyer.page()
    missing = text.split("还缺")[1].split("</p>")[0]
    assert "整体照片" not in missing and "问题处近照 ×2" in missing


@pytest.mark.row("S073")
async def test_a_photo_is_checked_hashed_stored_sealed_and_joins_the_case(here: World, tmp_path: Path) -> None:
    buyer = await asked(here)
    assert await buyer.send(JPEG, "detail") == 204
    await here.settle()
    (piece,) = case(here).evidence
    assert piece.sha256 == sha256(JPEG).hexdigest() and piece.size == len(JPEG)
    assert (piece.kind, piece.name, piece.media_type, piece.source) == ("photo", "detail-1.jpg", "image/jpeg", "buyer")
    read = await Files(here.bridge.store).read(case(here).id, piece.sha256)
    assert read == JPEG
    on_disk = [one for one in here.bridge.store.blobs.folder.rglob("*") if one.is_file()]
    assert len(on_disk) == 1 and b"JFIF" not in on_disk[0].read_bytes()
    assert await buyer.send(b"MZ" + bytes(50)) == 415
    assert (await buyer.begin(here.bridge.store.blobs.most + 1))[0] == 413


@pytest.mark.row("S077")
async def test_a_broken_upload_goes_on_where_it_stopped(here: World) -> None:
    buyer = await asked(here)
    data = JPEG + os.urandom(PIECE * 3)
    _, place = await buyer.begin(len(data))

    async def cut() -> AsyncIterator[bytes]:
        yield data[: PIECE + 10]
        raise ConnectionResetError

    with pytest.raises((aiohttp.ClientError, ConnectionResetError)):
        await buyer.patch(place, 0, cut())

    async def arrived() -> int:
        while (there := (await buyer.offset(place))[1]) == 0:
            await asyncio.sleep(0.01)
        return there

    there = await asyncio.wait_for(arrived(), 10)
    assert 0 < there <= PIECE + 10
    assert (await buyer.patch(place, 0, data))[0] == 409
    assert await buyer.patch(place, there, data[there:]) == (204, len(data))
    await here.settle()
    assert [one.sha256 for one in case(here).evidence] == [sha256(data).hexdigest()]
    _, text, _ = await buyer.page()
    assert "整体照片" not in text.split("还缺")[1].split("</p>")[0]


async def test_a_restart_in_the_middle_loses_nothing_that_was_promised(tmp_path: Path, sink: Sink) -> None:
    settings, data = config(tmp_path, sink.url), JPEG + os.urandom(PIECE * 2)
    async with running(settings, sink) as first:
        buyer = await asked(first)
        _, place = await buyer.begin(len(data))
        status, there = await buyer.patch(place, 0, data[: PIECE + 5])
        assert (status, there) == (204, PIECE + 5)
    async with running(settings, sink) as second:
        buyer = Buyer(second, buyer.path)
        assert await buyer.offset(place) == (200, there)
        assert await buyer.patch(place, there, data[there:]) == (204, len(data))
        await second.settle()
        assert [one.sha256 for one in case(second).evidence] == [sha256(data).hexdigest()]
        assert (await buyer.offset(place))[0] == 404


async def test_a_new_connection_ends_the_dead_one(here: World) -> None:
    buyer = await asked(here)
    data, stuck = JPEG + os.urandom(PIECE), asyncio.Event()
    _, place = await buyer.begin(len(data))

    async def hanging() -> AsyncIterator[bytes]:
        yield data[:PIECE]
        await stuck.wait()

    old = asyncio.create_task(buyer.patch(place, 0, hanging()))
    async with asyncio.timeout(10):
        while (there := (await buyer.offset(place))[1]) == 0:
            await asyncio.sleep(0.01)
    assert await buyer.patch(place, there, data[there:]) == (204, len(data))
    stuck.set()
    await asyncio.gather(old, return_exceptions=True)


async def test_of_several_that_come_back_at_once_one_goes_on(here: World) -> None:
    buyer = await asked(here)
    data, stuck = JPEG + os.urandom(2 * PIECE), asyncio.Event()
    _, place = await buyer.begin(len(data))

    async def hanging() -> AsyncIterator[bytes]:
        yield data[:PIECE]
        await stuck.wait()

    old = asyncio.create_task(buyer.patch(place, 0, hanging()))
    async with asyncio.timeout(10):
        while (there := (await buyer.offset(place))[1]) == 0:
            await asyncio.sleep(0.01)

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(there, len(data), 50_000):
            yield data[start : start + 50_000]
            await asyncio.sleep(0.02)

    coming = (buyer.patch(place, there, slowly()) for _ in range(4))
    answers = await asyncio.gather(*coming, return_exceptions=True)
    stuck.set()
    await asyncio.gather(old, return_exceptions=True)
    assert [one for one in answers if not isinstance(one, Exception)] == [(204, len(data))]
    await here.settle()
    assert [one.sha256 for one in case(here).evidence] == [sha256(data).hexdigest()]


@pytest.mark.parametrize(
    ("data", "need", "status"),
    [
        (b"<html><script>alert(1)</script></html>", "overview", 415),
        (b"PK\x03\x04" + bytes(20), "overview", 415),
        (b"\x00\x00\x00\x18ftypavif" + bytes(20), "overview", 415),
        (b"%PDF-1.7 " + bytes(20), "overview", 422),
        (b"%PDF-1.7 " + bytes(20), "other", 204),
        (b"\x00\x00\x00\x18ftypheic" + bytes(20), "overview", 204),
        (b"\x00\x00\x00\x14ftypqt  " + bytes(20), "overview", 204),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "overview", 204),
    ],
)
async def test_the_type_is_told_by_the_first_bytes(here: World, data: bytes, need: str, status: int) -> None:
    buyer = await asked(here)
    assert await buyer.send(data, need) == status
    left = list((here.bridge.store.blobs.folder / "partial").iterdir())
    assert left == [] and len(here.rows("SELECT id FROM evidence")) == (status == 204)


async def test_the_wrong_type_is_refused_before_all_of_it_has_come(here: World) -> None:
    buyer = await asked(here)
    _, place = await buyer.begin(1 << 20)
    assert (await buyer.patch(place, 0, b"MZ" + bytes(100)))[0] == 415
    assert (await buyer.offset(place))[0] == 404


async def test_more_than_was_announced_and_too_much_in_all_is_refused(here: World) -> None:
    buyer = await asked(here)
    _, place = await buyer.begin(len(JPEG))
    assert (await buyer.patch(place, 0, JPEG + b"more"))[0] == 413
    assert (await buyer.begin(5 << 20))[0] == 429
    for number in range(6):
        assert await buyer.send(JPEG + bytes([number])) == (204 if number < 5 else 429)


async def test_bytes_that_are_never_kept_count_too(tmp_path: Path, sink: Sink) -> None:
    settings = config(tmp_path, sink.url)
    settings["policies"]["evidence"]["most_bytes"] = 150_000
    async with running(settings, sink) as world:
        buyer = await asked(world)
        statuses = [await buyer.send(b"MZ" + bytes(99_998)) for _ in range(6)]
        assert statuses[0] == 415 and statuses[-1] == 429


async def test_the_same_photo_counts_once(here: World) -> None:
    buyer = await asked(here)
    assert [await buyer.send(JPEG, "overview"), await buyer.send(JPEG, "detail")] == [204, 204]
    await here.settle()
    assert [one.id.partition(":")[0] for one in case(here).evidence] == ["overview"]


async def test_a_photo_of_another_buyer_s_case_is_known_again(here: World) -> None:
    first, second = await asked(here, 1), await asked(here, 2)
    assert [await first.send(JPEG), await second.send(JPEG)] == [204, 204]
    await here.settle()
    assert [case(here, number).evidence[0].source for number in (0, 1)] == ["buyer", "buyer.reused"]


async def test_after_done_the_link_is_closed_for_good(tmp_path: Path, sink: Sink) -> None:
    settings = config(tmp_path, sink.url)
    async with running(settings, sink) as world:
        buyer = await asked(world)
        assert await buyer.done() == 400
        assert await buyer.send(JPEG) == 204
        assert await buyer.done() == 200
        assert await buyer.done() == 410
        await world.settle()
        types = [one for (one,) in world.rows("SELECT type FROM timeline ORDER BY seq")]
        assert types.count("evidence.added") == 1 and "noted" in types
    async with running(settings, sink) as world:
        buyer = Buyer(world, buyer.path)
        await world.bridge.store.write(lambda conn: conn.exec_driver_sql("DELETE FROM inbox"))
        status, text, _ = await buyer.page()
        assert status == 410 and "链接已关闭" in text
        assert (await buyer.begin(100))[0] == 410


async def test_forged_and_expired_links_say_so_in_the_visitor_s_language(here: World) -> None:
    buyer = await asked(here)
    forged = Buyer(here, buyer.path[:-1] + ("A" if buyer.path[-1] != "A" else "B"))
    status, text, _ = await forged.page("zh-TW,zh;q=0.9")
    assert status == 404 and "連結無效" in text
    assert (await forged.begin(10))[0] == 404 and await forged.done() == 404
    other = here.bridge.router.world.links.token(
        Link("approve", case(here).id, "x", "", here.bridge.store.clock.now() + timedelta(days=1))
    )
    assert (await Buyer(here, f"/l/{other}").page())[0] == 404
    here.bridge.store.clock.offset = timedelta(days=4)
    status, text, _ = await buyer.page("en")
    assert status == 410 and "has expired" in text


async def test_an_upload_of_another_case_is_not_there(here: World) -> None:
    first, second = await asked(here, 1), await asked(here, 2)
    _, place = await first.begin(len(JPEG))
    stolen = place.replace(first.path, second.path)
    assert (await second.offset(stolen))[0] == 404
    assert (await second.patch(stolen, 0, JPEG))[0] == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Tus-Resumable": "0.2.2"}, 412), ({"Upload-Length": "x"}, 400), ({"Upload-Metadata": "need !"}, 400)],
)
async def test_what_is_not_tus_is_refused(here: World, headers: dict[str, str], status: int) -> None:
    buyer = await asked(here)
    assert (await buyer.begin(10, "overview", **headers))[0] == status
    async with here.client.options(f"{buyer.base}/files") as answer:
        assert (answer.status, answer.headers["Tus-Version"]) == (204, "1.0.0")
    _, place = await buyer.begin(10)
    assert (await buyer.patch(place, 0, b"x", **{"Content-Type": "text/plain"}))[0] == 415
    given_ = PATCH | {"Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    async with here.client.post(here.bridge.url + place, data=JPEG[:10], headers=given_) as answer:
        assert answer.status == 204


async def test_a_full_disk_is_told_and_keeps_what_was_there(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    buyer = await asked(here)
    data = JPEG + bytes(PIECE)
    _, place = await buyer.begin(len(data))
    assert (await buyer.patch(place, 0, JPEG))[0] == 204

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("rmabridge.store.uploads.frame", full)
        assert (await buyer.patch(place, len(JPEG), data[len(JPEG) :]))[0] == 507
    assert await buyer.offset(place) == (200, len(JPEG))
    assert (await buyer.patch(place, len(JPEG), data[len(JPEG) :]))[0] == 204


async def test_what_never_became_whole_is_removed_after_its_time(here: World) -> None:
    buyer = await asked(here)
    _, place = await buyer.begin(1000)
    await buyer.patch(place, 0, JPEG)
    await here.bridge.timers.clean()
    assert (await buyer.offset(place))[0] == 200
    here.bridge.store.clock.offset = timedelta(days=2, hours=1)
    await here.bridge.timers.clean()
    assert list((here.bridge.store.blobs.folder / "partial").iterdir()) == []


async def test_files_are_lent_for_their_own_case_only_and_not_after_an_erasure(here: World) -> None:
    first = await asked(here, 1)
    await asked(here, 2)
    assert await first.send(JPEG) == 204
    await here.settle()
    own, other = case(here, 0), case(here, 1)
    name = own.evidence[0].sha256 or ""
    lend = here.bridge.dispatcher.context
    assert await lend("mail", "k", own.id).blob(name) == JPEG
    with pytest.raises(Rejected, match="has no file"):
        await lend("mail", "k", other.id).blob(name)
    kept = await lend("mail", "k", other.id).keep(b"%PDF-proof")
    assert await lend("mail", "k", other.id).blob(kept) == b"%PDF-proof"
    ((key,),) = here.rows(f"SELECT key_id FROM cases WHERE id = '{own.id}'")
    await here.bridge.store.write(lambda conn: conn.exec_driver_sql(f"DELETE FROM buyer_keys WHERE id = '{key}'"))
    here.bridge.store.vault.forget(key)
    with pytest.raises(Rejected, match="erased"):
        await lend("mail", "k", own.id).blob(name)
    assert (await first.page())[0] == 404


@given(st.binary(max_size=64))
def test_any_bytes_have_a_type_or_none(data: bytes) -> None:
    found = told(data)
    assert found is None or found.media_type


@given(st.text(max_size=60))
def test_any_metadata_names_a_need_or_is_malformed(text: str) -> None:
    with suppress(Malformed):
        assert isinstance(need_of(text), str)
