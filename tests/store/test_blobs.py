"""Files by hash: whole or not there, under their buyer's key, and gone with it."""

from __future__ import annotations

import errno
import os
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmabridge.errors import TooLarge
from rmabridge.store.blobs import PIECE, Blobs, NoFile, NoSpace
from rmabridge.store.uploads import Upload, Uploads
from rmabridge.store.vault import Erased, Vault

KEY = "k:one"


@pytest.fixture
def vault() -> Vault:
    made = Vault([b"m" * 32])
    made.make(KEY, None, 0)
    made.make("k:two", None, 0)
    return made


@pytest.fixture
def blobs(tmp_path: Path, vault: Vault) -> Blobs:
    return Blobs(tmp_path / "blobs", vault, 1 << 20)


def files(blobs: Blobs) -> list[Path]:
    return [one for one in blobs.folder.rglob("*") if one.is_file()]


@given(data=st.binary(max_size=3000) | st.builds(lambda one: one * PIECE, st.binary(min_size=1, max_size=3)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_any_bytes_come_back_and_lie_sealed(blobs: Blobs, data: bytes) -> None:
    name = blobs.put(KEY, data)
    assert name == sha256(data).hexdigest() and blobs.get(KEY, name) == data
    if len(data) > 8:
        assert data[:PIECE] not in blobs.path(KEY, name).read_bytes()


def test_the_same_file_is_kept_once_under_one_key(blobs: Blobs) -> None:
    first = blobs.put(KEY, b"photo")
    mark = blobs.path(KEY, first).stat().st_ino
    assert blobs.put(KEY, b"photo") == first and blobs.path(KEY, first).stat().st_ino == mark
    blobs.put("k:two", b"photo")
    assert len(files(blobs)) == 2


def test_a_file_is_not_read_with_the_key_of_another_buyer(blobs: Blobs) -> None:
    name = blobs.put(KEY, b"photo")
    with pytest.raises(NoFile):
        blobs.get("k:two", name)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_a_hash_names_a_file(blobs: Blobs, name: str) -> None:
    with pytest.raises(NoFile):
        blobs.get(KEY, name)


def test_an_erased_key_leaves_nothing_to_read(blobs: Blobs, vault: Vault) -> None:
    name = blobs.put(KEY, b"photo")
    vault.forget(KEY)
    with pytest.raises(Erased):
        blobs.get(KEY, name)
    blobs.forget(KEY)
    assert files(blobs) == []


def test_a_changed_or_cut_file_is_not_given_out(blobs: Blobs) -> None:
    name = blobs.put(KEY, bytes(PIECE * 2))
    path = blobs.path(KEY, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 + 10])
    with pytest.raises(NoFile):
        blobs.get(KEY, name)


def test_what_is_too_large_is_refused_before_it_is_written(blobs: Blobs) -> None:
    with pytest.raises(TooLarge):
        blobs.put(KEY, bytes(blobs.most + 1))
    assert not blobs.folder.exists()


def test_a_process_that_dies_between_write_and_rename_leaves_no_file(blobs: Blobs) -> None:
    if (child := os.fork()) == 0:
        Path.replace = lambda *_: os._exit(9)  # type: ignore[method-assign, assignment, return-value]
        blobs.put(KEY, b"photo")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    name = sha256(b"photo").hexdigest()
    with pytest.raises(NoFile):
        blobs.get(KEY, name)
    assert blobs.put(KEY, b"photo") == name and blobs.get(KEY, name) == b"photo"


def test_a_full_disk_is_told_and_leaves_nothing_half_written(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match="disk is full"):
        blobs.put(KEY, b"photo")
    assert files(blobs) == []


def begun(uploads: Uploads, length: int = PIECE * 3) -> Upload:
    return uploads.start("C1", "overview", length, KEY, 1)


@given(cut=st.integers(0, PIECE * 2 + 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
def test_an_upload_goes_on_from_its_last_whole_piece_wherever_it_was_cut(blobs: Blobs, cut: int) -> None:
    uploads, data = Uploads(blobs), os.urandom(PIECE * 2 + 100)
    upload = begun(uploads, len(data))
    uploads.append(upload, data)
    path = uploads._part(upload)
    os.truncate(path, min(cut, path.stat().st_size))
    there = uploads.offset(upload)
    assert there <= len(data) and there <= cut
    uploads.append(upload, data[there:])
    assert uploads.offset(upload) == len(data)
    done = uploads.finish(upload, uploads.hashed(upload))
    assert done.sha256 and blobs.get(KEY, done.sha256) == data
    uploads.drop(done)


def test_an_upload_that_was_put_in_its_place_can_be_finished_again(blobs: Blobs) -> None:
    uploads = Uploads(blobs)
    upload = begun(uploads, 5)
    uploads.append(upload, b"photo")
    done = uploads.finish(upload, uploads.hashed(upload))
    assert done.sha256
    assert uploads.finish(done, done.sha256) == done and uploads.offset(done) == 5
    assert blobs.get(KEY, done.sha256) == b"photo"
    uploads.drop(done)
    assert list(uploads.folder.iterdir()) == []


def test_a_full_disk_in_the_middle_of_an_upload_keeps_what_was_there(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(blobs)
    upload = begun(uploads, 10)
    uploads.append(upload, b"12345")
    monkeypatch.setattr("rmabridge.store.uploads.frame", _full)
    with pytest.raises(NoSpace):
        uploads.append(upload, b"67890")
    monkeypatch.undo()
    assert uploads.offset(upload) == 5
    uploads.append(upload, b"67890")
    assert uploads.offset(upload) == 10


def _full(*_: object) -> bytes:
    raise OSError(errno.ENOSPC, "No space left on device")
