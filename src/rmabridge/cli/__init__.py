"""The command line. Every command has a file of its own, imported when it is called.

Exit codes::

    0  done
    1  carried out, and it found a problem: check, verify, a refused command, a failed test
    2  wrong arguments
    3  the configuration is wrong
    4  it cannot be done: no database, not running, no such case, no connection
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any, Final

import click
from click.exceptions import NoArgsIsHelpError

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

OK, PROBLEM, USAGE, CONFIG, CANNOT = range(5)

EPILOG: Final = """\b
Exit codes:
  0  done
  1  carried out, and it found a problem (check, verify, a refused command)
  2  wrong arguments
  3  the configuration is wrong
  4  it cannot be done: no database, not running, no such case
"""

# name → (module, attribute, what it does)
COMMANDS: Final[dict[str, tuple[str, str, str]]] = {
    "init": ("init", "init", "Write a commented rmabridge.toml."),
    "check": ("check", "check", "Check the configuration and try every account."),
    "serve": ("serve", "serve", "Run the bridge."),
    "demo": ("demo", "demo", "Run a bridge with simulated platforms."),
    "new": ("new", "new", "Write the first file of a new plugin."),
    "cases": ("cases", "cases", "List, read and change cases."),
    "explain": ("explain", "explain", "Why the bridge did what it did in a case."),
    "deliveries": ("deliveries", "deliveries", "What the bridge does outside, and how it went."),
    "approvals": ("approvals", "approvals", "Actions that wait for a person's word."),
    "deadletters": ("deadletters", "deadletters", "Deliveries that failed for good: read, edit, replay."),
    "inbox": ("inbox", "inbox", "Events that are parked or match no case."),
    "accounts": ("accounts", "accounts", "Test, connect, pause and resume accounts."),
    "carriers": ("carriers", "carriers", "Which carriers are listed, and whose a waybill is."),
    "alerts": ("alerts", "alerts", "What an operator should look at."),
    "plugins": ("plugins", "plugins", "Which plugins there are and what they can do."),
    "config": ("config", "config", "Show the configuration, secrets masked."),
    "policy": ("policy", "policy", "The active rules, in words and as a flow chart."),
    "templates": ("templates", "templates", "List and preview message templates."),
    "listen": ("listen", "listen", "Show what arrives, as it arrives."),
    "simulate": ("simulate", "simulate", "Run a simulator of one vendor, with faults."),
    "trigger": ("trigger", "trigger", "Send a signed sample webhook to the running bridge."),
    "import": ("imports", "import_", "Import a CSV or JSONL export."),
    "reconcile": ("reconcile", "reconcile", "Compare an account with its platform now."),
    "buyers": ("buyers", "buyers", "What is kept of a buyer: find, export, erase, hold."),
    "keys": ("keys", "keys", "The master keys, and how one takes over from another."),
    "audit": ("audit", "audit", "Read, check and export the log of who did what."),
    "backup": ("backup", "backup", "Write everything that is kept into one file, while the bridge is served."),
    "restore": ("backup", "restore", "Put a backup into an empty store of either kind."),
    "retention": ("retention", "retention", "What is forgotten by age, and what would go now."),
    "migrate": ("migrating", "migrate", "Bring the PostgreSQL schema to this release's."),
    "roles": ("roles", "roles", "Database users for PostgreSQL, each with no more rights than it needs."),
    "migrate-store": ("migrating", "migrate_store", "Copy the SQLite file into PostgreSQL."),
    "completion": ("completion", "completion", "Print the shell's completion script."),
    "clock": ("clock", "clock", "Move the virtual clock (tests and demo)."),
}
HIDDEN: Final = frozenset({"clock"})
NO_RIGHT: Final = "this user may not do that; 'rmabridge roles list' tells which user [bridge] database should name"


class Commands(click.Group):
    """A group that imports a command only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names that are shown."""
        return [name for name in COMMANDS if name not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        found: click.Command = getattr(importlib.import_module(f"{__name__}.{entry[0]}"), entry[1])
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, from the one-line helps above."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the arguments; wrong ones are told in a line."""
        given = kwargs.get("args", args[1] if len(args) > 1 else ())
        if broken := [one for one in given if one != one.encode(errors="replace").decode()]:
            raise Misused(f"{broken[0].encode(errors='replace').decode()!r} is not text in this terminal's encoding.")
        try:
            return super().make_context(*args, **kwargs)
        except click.UsageError as error:
            raise _in_a_line(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what goes wrong on purpose is told in a line, with its exit code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _in_a_line(error) from None
        except (click.exceptions.Exit, click.Abort, click.ClickException):
            raise
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            for line in told[1]:
                click.echo(line, err=True)
            ctx.exit(told[0])


class Misused(click.UsageError):
    """Wrong arguments."""

    def show(self, file: Any = None) -> None:
        """One line on stderr."""
        path = self.ctx.command_path if self.ctx else "rmabridge"
        click.echo(f"{path}: {self.format_message()} See '{path} --help'.", file=file, err=file is None)


def _in_a_line(error: click.UsageError) -> click.UsageError:
    if isinstance(error, NoArgsIsHelpError):
        return error
    text = " ".join(error.format_message().split())
    return Misused(text if text.endswith((".", "?")) else f"{text}.", error.ctx)


def _told(error: Exception) -> tuple[int, list[str]] | None:
    """(exit code, lines) for what is not a fault of ours."""
    from ..errors import ConfigError, RmabridgeError

    if isinstance(error, ConfigError):
        return CONFIG, list(error.problems) or ["the configuration is wrong"]
    if isinstance(error, RmabridgeError):
        return CANNOT, [str(error)]
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        return CANNOT, [f"{error.filename}: {error.strerror}" if error.filename else str(error)]
    if "sqlalchemy" in sys.modules:
        from sqlalchemy.exc import DBAPIError

        if isinstance(error, DBAPIError):
            return CANNOT, [_refused(error) or f"the database: {error.orig}"]
    return None


def _refused(error: DBAPIError) -> str | None:
    """What to do where the user has no right to do it."""
    from ..store.postgres import forbidden

    if forbidden(error):
        return f"the database: {str(error.orig).rpartition('>: ')[2]}: {NO_RIGHT}"
    if "readonly database" in str(error.orig):
        return "the database: this user may only read its file; run the command as the user that 'rmabridge serve' has"
    return None


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rmabridge")
def main() -> None:
    """After-sales middleware: marketplaces in, one help desk out, nothing lost."""
