"""Encryption at rest: a key for each buyer and each day, wrapped by the master key ring (AES-256-GCM throughout).

Erasing a buyer deletes the wrapped key: what was sealed with it cannot be read again, while hashes and chains over
the sealed bytes still verify.
"""

from __future__ import annotations

import base64
import os
from collections import OrderedDict
from collections.abc import Collection, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, func, select, update

from ..errors import ConfigError
from .bulk import adding, many
from .tables import buyer_keys

NONCE: Final = 12
CACHED: Final = 20_000
INDEX: Final = "index"
_KEYS: Final = select(
    buyer_keys.c.id, buyer_keys.c.buyer, buyer_keys.c.ring, buyer_keys.c.wrapped, buyer_keys.c.created_at
)


class Erased(LookupError):
    """The key is gone: the buyer was erased, or the raw body's time is over."""


def master_keys(given: Sequence[str], database: Path) -> list[bytes]:
    """The key ring from the settings, else from the key file beside the database, made on first use (mode 0600)."""
    if given:
        return [_decoded(one, "[bridge] keys") for one in given]
    path = database.with_suffix(".key")
    if not path.exists() and database.exists() and database.stat().st_size:
        raise ConfigError(f"[bridge] keys: the key file {path} is missing; without it {database} cannot be read")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(base64.b64encode(os.urandom(32)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"[bridge] keys: the key file {path} cannot be written: {error.strerror}") from error
    return [_decoded(line, str(path)) for line in path.read_text(encoding="ascii").split()]


def key_ring(given: Sequence[str], database: Path) -> list[bytes]:
    """The key ring as it is now; empty where there is none that this user may read. Nothing is made."""
    if given or os.access(database.with_suffix(".key"), os.R_OK):
        return master_keys(given, database)
    return []


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ConfigError(f"{where}: a master key is 32 random bytes in base64 (openssl rand -base64 32)")
    return key


class Nonces:
    """Random bytes from the system, drawn many at a time: one system call costs more than a whole encryption."""

    def __init__(self) -> None:
        self._pool, self._at = b"", 0

    def take(self, size: int) -> bytes:
        """Bytes that were never given out before."""
        if self._at + size > len(self._pool):
            self._pool, self._at = os.urandom(4096), 0
        self._at += size
        return self._pool[self._at - size : self._at]


class Vault:
    """Seals and opens documents. New keys are collected in ``fresh`` and stored by the write that uses them first."""

    def __init__(self, ring: Sequence[bytes]) -> None:
        self._ring = {blake2b(key, digest_size=6).hexdigest(): AESGCM(key) for key in ring}
        self._wraps = next(iter(self._ring))
        self._open: OrderedDict[str, AESGCM] = OrderedDict()
        self._index = b""
        self._random = Nonces()

    @property
    def ring(self) -> tuple[str, ...]:
        """The names of the master keys, newest first."""
        return tuple(self._ring)

    def rewrapped(self, row: dict[str, Any]) -> dict[str, Any]:
        """The columns of a stored key that change when the newest master key wraps it."""
        return self._wrapped(self.ring[0], row["id"], self._unwrap(row))

    def follow(self, conn: Connection) -> None:
        """Wrap with the master key that wraps the index key, which another process may have changed."""
        ring = conn.execute(select(buyer_keys.c.ring).where(buyer_keys.c.id == INDEX)).scalar()
        if ring in self._ring:
            self._wraps = ring

    def turn(self) -> None:
        """Wrap with the newest master key from now on."""
        self._wraps = self.ring[0]

    def start(self, conn: Connection) -> list[dict[str, Any]]:
        """Load (or make) the index key; rows to store, if it was made."""
        row = conn.execute(_KEYS.where(buyer_keys.c.id == INDEX)).mappings().first()
        made: list[dict[str, Any]] = []
        if row is None:
            made = [self.wrap(INDEX, os.urandom(32), None, 0)]
            row = made[0]  # type: ignore[assignment]
        else:
            self._wraps = row["ring"]  # until 'keys rotate': a process that was not restarted may not know a newer one
        self._index = self._unwrap(row)  # type: ignore[arg-type]
        return made

    def mark(self, *parts: str) -> bytes:
        """A keyed hash by which a value is found again without being stored."""
        return blake2b("\x1f".join(parts).encode(), key=self._index, digest_size=16).digest()

    def make(self, key_id: str, buyer: bytes | None, now: int) -> dict[str, Any]:
        """A new key, usable at once; the returned row must be stored in the commit that uses it."""
        key = self._random.take(32)
        self._keep(key_id, AESGCM(key))
        return self.wrap(key_id, key, buyer, now)

    def wrap(self, key_id: str, key: bytes, buyer: bytes | None, now: int) -> dict[str, Any]:
        """The row of a key, wrapped by the master key that wraps the index key, too."""
        return {
            "id": key_id,
            "buyer": buyer,
            **self._wrapped(self._wraps, key_id, key),
            "created_at": now,
            "held": False,
        }

    def _wrapped(self, master: str, key_id: str, key: bytes) -> dict[str, Any]:
        nonce = self._random.take(NONCE)
        return {"ring": master, "wrapped": nonce + self._ring[master].encrypt(nonce, key, key_id.encode())}

    def _unwrap(self, row: dict[str, Any]) -> bytes:
        master = self._ring.get(row["ring"])
        if master is None:
            raise ConfigError(
                f"[bridge] keys: the master key {row['ring']} that wrapped {row['id']!r} is not in the ring"
            )
        try:
            return master.decrypt(row["wrapped"][:NONCE], row["wrapped"][NONCE:], row["id"].encode())
        except InvalidTag as error:
            raise ConfigError(
                f"[bridge] keys: the stored key {row['id']!r} does not open; is this the right ring?"
            ) from error

    def _keep(self, key_id: str, cipher: AESGCM) -> None:
        self._open[key_id] = cipher
        if len(self._open) > CACHED:
            self._open.popitem(last=False)

    def knows(self, key_id: str) -> bool:
        """Whether the key is at hand without a look into the database."""
        return key_id in self._open

    def missing(self, key_ids: Collection[str]) -> set[str]:
        """Which of these keys are not at hand. The others are the last to be dropped when there are too many."""
        found = {one for one in key_ids if one not in self._open}
        for one in key_ids:
            if one not in found:
                self._open.move_to_end(one)
        return found

    def fetch(self, conn: Connection, key_ids: set[str]) -> None:
        """Load the keys that are not at hand; erased ones stay unknown."""
        missing = [one for one in key_ids if one not in self._open]
        if missing:
            for row in conn.execute(_KEYS.where(buyer_keys.c.id.in_(missing))).mappings():
                self._keep(row["id"], AESGCM(self._unwrap(dict(row))))

    @property
    def held(self) -> list[str]:
        """The names of the keys at hand."""
        return list(self._open)

    def forget(self, key_id: str) -> None:
        """Drop a key from memory."""
        self._open.pop(key_id, None)

    def seal(self, key_id: str, text: bytes) -> bytes:
        """Encrypt with the key, which must be at hand."""
        nonce = self._random.take(NONCE)
        return nonce + self._open[key_id].encrypt(nonce, text, None)

    def open(self, key_id: str, sealed: bytes) -> bytes:
        """Decrypt; raises ``Erased`` where the key is gone."""
        cipher = self._open.get(key_id)
        if cipher is None:
            raise Erased(key_id)
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], None)


def store_keys(conn: Connection, rows: list[dict[str, Any]]) -> None:
    """Store new keys."""
    if rows:
        many(conn, adding(buyer_keys), rows)


def wrapped_by(conn: Connection) -> dict[str, int]:
    """Master key → how many data keys it wraps."""
    query = select(buyer_keys.c.ring, func.count()).group_by(buyer_keys.c.ring)
    return {name: int(number) for name, number in conn.execute(query)}


def rewrap(conn: Connection, vault: Vault, most: int) -> int:
    """Wrap some data keys with the newest master key, the index key first, which all processes follow; how many there
    were. One that was erased meanwhile stays so."""
    query = _KEYS.where(buyer_keys.c.ring != vault.ring[0])
    query = query.order_by(buyer_keys.c.id != INDEX, buyer_keys.c.id).limit(most)
    rows = [dict(one) for one in conn.execute(query).mappings()]
    for row in rows:
        same = (buyer_keys.c.id == row["id"], buyer_keys.c.ring == row["ring"])
        conn.execute(update(buyer_keys).where(*same).values(**vault.rewrapped(row)))
    return len(rows)
