"""The schema, the same for SQLite and PostgreSQL. Times are microseconds since 1970 UTC; ``doc`` columns are sealed.

The condition of a partial index stands here for SQLite only, and in the migrations for both: to name PostgreSQL's would
import its dialect at every start.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

LANES: Final = 256
CASE_LANES: Final = 128  # from here on, what is about known cases
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
metadata = MetaData()
Serial = BigInteger().with_variant(Integer, "sqlite")


def micros(at: datetime) -> int:
    """A time as the schema keeps it."""
    span = at - EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def moment(at: int) -> datetime:
    """A kept time as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=at)


# What came in and was acknowledged. ``dedupe`` is the sender's delivery id or the body's hash.
inbox = Table(
    "inbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("account", String, nullable=False),
    Column("dedupe", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("lane", Integer, nullable=False),
    Column("kind", String, nullable=False),  # hook, poll, import, event (normalised), command
    Column("state", String, nullable=False, server_default="new"),  # new, done, parked, unmatched, refused
    Column("received_at", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False, server_default="0"),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("claims", Integer, nullable=False, server_default="0"),
    Column("key_id", String, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("case_id", String),
    Column("stage", String),
    Column("note", Text),
    Column("trace", LargeBinary),
    Column("settled_at", BigInteger),
    UniqueConstraint("account", "dedupe", name="inbox_once"),
)
Index("inbox_new", inbox.c.id, sqlite_where=text("state = 'new'"))
Index("inbox_lane", inbox.c.lane, inbox.c.id).ddl_if(dialect="postgresql")  # where state = 'new'
Index("inbox_known", inbox.c.id, sqlite_where=text("state = 'new' and case_id is not null"))
Index(
    "inbox_stuck",
    inbox.c.state,
    inbox.c.received_at,
    sqlite_where=text("state in ('parked', 'unmatched')"),
)

# Keys that unmatched rows wait for.
waiting = Table(
    "waiting",
    metadata,
    Column("k", LargeBinary, primary_key=True),
    Column("inbox_id", BigInteger, primary_key=True),
    sqlite_with_rowid=False,
)

# Event keys that counted; pruned on their own horizon.
seen = Table(
    "seen",
    metadata,
    Column("k", LargeBinary, primary_key=True),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

lanes = Table("lanes", metadata, Column("lane", Integer, primary_key=True), Column("version", Integer, nullable=False))

cases = Table(
    "cases",
    metadata,
    Column("id", String, primary_key=True),
    Column("shop", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("kind", String, nullable=False),
    Column("issue", String),
    Column("level", Integer, nullable=False),
    Column("status", String, nullable=False),
    Column("open", Boolean, nullable=False),
    Column("opened_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("first_reply_at", BigInteger),
    Column("flag", Text),
    Column("buyer", LargeBinary),
    Column("seq", Integer, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    Column("merged_into", String),
    Column("key_id", String, nullable=False),
    Column("doc", LargeBinary, nullable=False),
)
Index("cases_listed", cases.c.updated_at)
Index("cases_of_buyer", cases.c.buyer, cases.c.opened_at)

case_keys = Table(
    "case_keys",
    metadata,
    Column("k", LargeBinary, primary_key=True),
    Column("case_id", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("strong", Boolean, nullable=False),
    sqlite_with_rowid=False,
)
Index(
    "case_keys_strong",
    case_keys.c.k,
    unique=True,
    sqlite_where=text("strong"),
)

# Append-only; ``chain`` is the hash of the entry and of the chain before it.
timeline = Table(
    "timeline",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("recorded_at", BigInteger, nullable=False),
    Column("account", String, nullable=False),
    Column("type", String, nullable=False),
    Column("by", String, nullable=False),
    Column("inbox_id", BigInteger),
    Column("key_id", String, nullable=False),
    Column("doc", LargeBinary, nullable=False),
    Column("chain", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

messages = Table(
    "messages",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("author", String, nullable=False),
    Column("form", String, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("template", String),
    Column("template_version", Integer),
    Column("locale", String),
    Column("key_id", String, nullable=False),
    Column("doc", LargeBinary, nullable=False),
)

# The ledger of every proposed action, whatever became of it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("case_id", String, nullable=False),
    Column("shop", String, nullable=False),
    Column("account", String, nullable=False),
    Column("type", String, nullable=False),
    Column("key", String, nullable=False),
    Column("effect", String),
    Column("stream", String, nullable=False),
    # waiting (for needs), due, held, sending, done, denied, dead, uncertain, expired, cancelled, superseded
    Column("state", String, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("not_after", BigInteger),
    Column("good_until", BigInteger),  # so long what its verdicts allow holds: then it is judged again before it goes
    Column("needs", String),
    Column("replaces", String),
    Column("money", Boolean, nullable=False, server_default="0"),
    Column("amount", String),  # what carrying it out costs the shop, a decimal in major units
    Column("currency", String),
    Column("attempt", Integer, nullable=False, server_default="0"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("owner", String),
    Column("lease_until", BigInteger),
    Column("sent_at", BigInteger),
    Column("sure_after", BigInteger),
    Column("digest", LargeBinary, nullable=False),
    Column("depth", Integer, nullable=False, server_default="0"),
    Column("proposer", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("settled_at", BigInteger),
    Column("ref", String),
    Column("url", Text),
    Column("cause", Text),
    Column("hint", Text),
    Column("verdicts", Text, nullable=False, server_default="[]"),
    Column("key_id", String, nullable=False),
    Column("doc", LargeBinary, nullable=False),
    Column("amended_by", Text),
    Column("original", LargeBinary),  # the action as it was proposed, where a policy changed its words
    Column("trace", String),  # W3C traceparent of what proposed it
    Column("urgent", Boolean, nullable=False, server_default="0"),  # of a case of level 2 or 3
    Column("withdrawn", Text),  # why it was taken back while it was being sent: it is not tried again
    UniqueConstraint("case_id", "key", name="outbox_once"),
)
Index(
    "outbox_effect",
    outbox.c.account,
    outbox.c.effect,
    unique=True,
    sqlite_where=text("effect is not null"),
)
Index("outbox_money", outbox.c.created_at, sqlite_where=text("money"))
Index(
    "outbox_stream",
    outbox.c.case_id,
    outbox.c.stream,
    outbox.c.id,
    sqlite_where=text("state in ('due', 'sending', 'uncertain')"),
)
Index("outbox_due", outbox.c.account, outbox.c.due_at, sqlite_where=text("state = 'due'"))
Index("outbox_urgent", outbox.c.account, outbox.c.due_at, sqlite_where=text("state = 'due' and urgent"))
Index("outbox_stale", outbox.c.not_after, sqlite_where=text("state = 'due' and not_after is not null"))
Index("outbox_again", outbox.c.good_until, sqlite_where=text("state = 'due' and good_until is not null"))
Index("outbox_back", outbox.c.created_at, sqlite_where=text("state = 'due' and withdrawn is not null"))
Index(
    "outbox_open",
    outbox.c.state,
    outbox.c.due_at,
    sqlite_where=text("state in ('sending', 'uncertain', 'held', 'dead', 'waiting')"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("outbox_id", BigInteger, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("took", Integer, nullable=False),  # microseconds
    Column("outcome", String, nullable=False),
    Column("sent", Boolean, nullable=False),
    Column("cause", Text),
    Column("key_id", String),
    Column("doc", LargeBinary),  # the masked exchange, of what did not go well
    sqlite_with_rowid=False,
)

deadlines = Table(
    "deadlines",
    metadata,
    Column("case_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("generation", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("depth", Integer, nullable=False, server_default="0"),
)
Index("deadlines_due", deadlines.c.due_at)

cursors = Table(
    "cursors",
    metadata,
    Column("account", String, primary_key=True),
    Column("kind", String, primary_key=True),  # poll, reconcile, import:<file>, clock, renews
    Column("cursor", Text),
    Column("version", Integer, nullable=False, server_default="0"),
    Column("due_at", BigInteger, nullable=False, server_default="0"),
    Column("cause", Text),
)

accounts = Table(
    "accounts",
    metadata,
    Column("name", String, primary_key=True),
    Column("paused", Boolean, nullable=False, server_default="0"),
    Column("reason", Text),
    Column("since", BigInteger),
)

tokens = Table(
    "tokens",
    metadata,
    Column("account", String, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("expires", BigInteger),
    Column("checked_at", BigInteger),
    Column("key_id", String, nullable=False),
    Column("value", LargeBinary, nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", String, primary_key=True),
    Column("case_id", String, nullable=False, index=True),
    Column("kind", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("key_id", String, nullable=False),
    Column("doc", LargeBinary, nullable=False),
)
Index("evidence_sha", evidence.c.sha256)

approvals = Table(
    "approvals",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("case_id", String, nullable=False, index=True),
    Column("outbox_id", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("rules", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", String, nullable=False),  # waiting, approved, denied, void
    Column("asked_at", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("by", String),
    Column("note", Text),
    UniqueConstraint("outbox_id", "digest", name="approvals_once"),
)

# One key for each buyer, one for each day's raw bodies, one for the index; wrapped by the master key ring.
buyer_keys = Table(
    "buyer_keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("buyer", LargeBinary, index=True),
    Column("ring", String, nullable=False),
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("held", Boolean, nullable=False, server_default="0"),
    Column("ways", Text),  # which ways the buyer closed or opened again, and when, as JSON
)

audit = Table(
    "audit",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("day", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("who", String, nullable=False),
    Column("what", String, nullable=False),
    Column("detail", Text, nullable=False),
    Column("chain", LargeBinary, nullable=False),
)

# What an operator must know; one row a cause, however often it happens.
alerts = Table(
    "alerts",
    metadata,
    Column("key", String, primary_key=True),
    Column("text", Text, nullable=False),
    Column("account", String),
    Column("case_id", String),
    Column("times", Integer, nullable=False, server_default="1"),
    Column("first_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("resolved_at", BigInteger),
)
