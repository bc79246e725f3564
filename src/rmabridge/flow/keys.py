"""Key rotation, as a command: the running bridge agrees before anybody wraps keys with a master key it must know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..errors import CommandError
from ..model import Commanded

if TYPE_CHECKING:
    from .batch import Batch, Row
    from .router import Router


def _rotate(router: Router, batch: Batch, row: Row, command: Commanded) -> tuple[str | None, str]:
    """Agree that all data keys are wrapped with this master key from now on."""
    asked, vault = str(command.args.get("to") or ""), router.store.vault
    if asked != vault.ring[0]:
        raise CommandError(f"{asked} is not the newest master key of the running bridge; restart it, then rotate")
    if unaware := router.store.read(lambda conn: router.store.unaware(conn, asked)):
        raise CommandError(f"{unaware} of the processes that serve do not know {asked}; restart them, then rotate")
    vault.turn()
    return None, f"data keys are wrapped with {asked}"


COMMANDS: Final[dict[str, Callable[[Router, Batch, Row, Commanded], tuple[str | None, str]]]] = {"rotate": _rotate}
