"""Actions as operators write them."""

from __future__ import annotations

from typing import Any, get_args
from uuid import uuid4

import click
from pydantic import ValidationError

from ..config import explain
from ..core.identity import order_ref
from ..model import ACTIONS, Action, Case, RefKind

KINDS: dict[str, Any] = {one.kind: one for one in get_args(Action)}


def built(case: Case, kind: str, given: dict[str, Any]) -> dict[str, Any]:
    """The action as JSON; what it aims at comes from the case where it is left out."""
    model = KINDS.get(kind)
    if model is None:
        raise click.UsageError(f"{kind!r} is no action; there are {', '.join(sorted(KINDS))}")
    if unknown := given.keys() - model.model_fields.keys():
        raise click.UsageError(f"{kind} has no {min(unknown)!r}; it has {', '.join(sorted(_settable(model)))}")
    defaults = {name: value for name, value in _defaults(case).items() if name in model.model_fields and value}
    try:
        action = ACTIONS.validate_python({**defaults, **given, "type": kind})
    except ValidationError as error:
        raise click.UsageError("; ".join(explain(error, f"[{kind}]"))) from error
    made: dict[str, Any] = ACTIONS.dump_python(action, mode="json", by_alias=True, exclude_none=True)
    return made


def _settable(model: Any) -> set[str]:
    return set(model.model_fields) - {"schema_", "type"}


def _defaults(case: Case) -> dict[str, Any]:
    request = case.request.id if case.request else None
    return {
        "request": request or case.ref(RefKind.RETURN),
        "order": order_ref(case),
        "ticket": case.ticket.id or case.ref(RefKind.TICKET),
        "external": case.id,
        "waybill": case.parcels[-1].waybill if case.parcels else case.ref(RefKind.WAYBILL),
        "origin": f"operator:{uuid4()}",
    }
