"""``rmabridge roles``: database users for PostgreSQL, each with no more rights than its part needs.

The user who owns the tables migrates. ``bridge`` serves, and adds to the audit log and to timelines without being able
to change them. ``operator`` gives orders and reads, ``reader`` reads all but the accounts' tokens, ``auditor`` reads
the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from ..store.tables import metadata
from .app import App, command
from .output import dumped, table

READ: Final = "SELECT"
ADD: Final = "SELECT, INSERT"
WRITE: Final = "SELECT, INSERT, UPDATE"
ALL: Final = "SELECT, INSERT, UPDATE, DELETE"
# role → what it may do with every table, and with some of them instead; None: nothing.
RIGHTS: Final[Mapping[str, tuple[str | None, Mapping[str, str]]]] = {
    "bridge": (ALL, {"alembic_version": READ, "audit": ADD, "timeline": ADD}),
    "operator": (
        READ,
        {"inbox": ADD, "cursors": WRITE, "tokens": WRITE, "buyer_keys": f"{ADD}, UPDATE (ring, wrapped)"},
    ),
    "reader": (READ, {"tokens": "SELECT (account, version, expires, checked_at, key_id)"}),
    "auditor": (None, {"alembic_version": READ, "audit": READ, "cursors": READ}),
}
DOES: Final = {
    "owner": "owns the tables: migrate, migrate-store, restore",
    "bridge": "serve, retention run; the audit log and timelines can only be added to",
    "operator": "every command that gives an order, import, backup, keys rotate, accounts connect and test",
    "reader": "every command that only reads; not the accounts' tokens",
    "auditor": "audit list, verify and export; needs no master key",
}
TABLES: Final = ("alembic_version", *sorted(metadata.tables))
START: Final = """\
-- Run as the user that owns the tables, or as a superuser, and again after each 'rmabridge migrate'.
BEGIN;
DO $$ BEGIN
  IF EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'audit'
             AND tableowner IN ({literals})) THEN
    RAISE EXCEPTION 'the user that owns the tables has all rights; name other users for the roles';
  END IF;
  EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
END $$;
"""
ROLE: Final = """
-- {role}: {does}
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN CREATE ROLE "{name}" LOGIN; END IF;
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO "{name}"', current_database());
  EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %I FROM "{name}"', current_schema());
  EXECUTE format('REVOKE ALL ON SCHEMA %I FROM "{name}"', current_schema());
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO "{name}"', current_schema());
END $$;
REVOKE ALL ON {tables} FROM "{name}";
"""


class RoleName(click.ParamType[str]):
    """A user's name that needs no care in SQL."""

    name = "user"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name, or a refusal."""
        if not str(value).replace("_", "").replace("-", "").isalnum() or len(str(value).encode()) > 63:
            self.fail(f"{value!r} is no user's name; use letters, digits, - and _", param, ctx)
        return str(value)


@click.group()
def roles() -> None:
    """Database users for PostgreSQL, each with no more rights than it needs."""


@roles.command("list")
@command
def list_(app: App) -> None:
    """The roles, and which commands each of them is for."""
    table(app, [{"role": one, "for": does} for one, does in DOES.items()], ("role", "for"))


@roles.command()
@click.option("--bridge", type=RoleName(), default="rmabridge_bridge", show_default=True, help="Who serves.")
@click.option("--operator", type=RoleName(), default="rmabridge_operator", show_default=True, help="Who gives orders.")
@click.option("--reader", type=RoleName(), default="rmabridge_reader", show_default=True, help="Who only reads.")
@click.option("--auditor", type=RoleName(), default="rmabridge_auditor", show_default=True, help="Who checks the log.")
@command
def sql(app: App, **names: str) -> None:
    """Print the SQL that makes the users where they are missing and gives each its rights; may be run again."""
    if len(set(names.values())) < len(names):
        raise click.UsageError("each role needs a user of its own")
    click.echo(dumped({"sql": script(names)}) if app.as_json else script(names))


def script(names: Mapping[str, str]) -> str:
    """The SQL for these users, by role."""
    parts = [START.format(literals=", ".join(f"'{one}'" for one in names.values()))]
    for role, name in names.items():
        parts.append(ROLE.format(role=role, does=DOES[role], name=name, tables=", ".join(TABLES)))
        parts += [f'GRANT {rights} ON {one} TO "{name}";\n' for one, rights in _granted(role)]
    return "".join([*parts, "\nCOMMIT;"])


def _granted(role: str) -> Iterator[tuple[str, str]]:
    """(table or sequence, rights) of a role."""
    general, some = RIGHTS[role]
    for one in TABLES:
        if rights := some.get(one, general):
            yield one, rights
            if "INSERT" in rights and (known := metadata.tables.get(one)) is not None and "id" in known.c:
                yield from ((f"SEQUENCE {one}_id_seq", "USAGE") for column in known.c if column.autoincrement is True)
