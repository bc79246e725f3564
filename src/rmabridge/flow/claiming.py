"""A person's word on a claim: what a carrier without an interface answered, by the same state machine as all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import ValidationError

from ..config import explain
from ..core.claims import refusal, same_carrier
from ..errors import CommandError
from ..model import Case, Claim, ClaimSeen, ClaimStatus, Commanded

if TYPE_CHECKING:
    from .work import Work

FIELDS = ("waybill", "carrier", "kind", "status", "amount", "paid", "reason", "claim", "due_at")


def told(work: Work, command: Commanded) -> str:
    """Apply what the command says of a claim; ``CommandError`` where it cannot be."""
    given = {name: value for name in FIELDS if (value := command.args.get(name)) is not None}
    try:
        event = ClaimSeen.model_validate({**given, "key": command.key, "at": work.now})
    except ValidationError as error:
        raise CommandError("; ".join(explain(error, "[claim]"))) from error
    claim = _claim(work.case, event)
    if claim is None and event.status not in {ClaimStatus.DRAFT, ClaimStatus.SUBMITTED}:
        raise CommandError(f"{work.case.id} has no claim for {event.kind} of {event.waybill}; say first: submitted")
    if claim is not None and (reason := refusal(claim.status, event.status)):
        raise CommandError(reason)
    work.apply(event, "bridge", command.by)
    return f"the claim for {event.kind} of {event.waybill} is {event.status}"


def _claim(case: Case, event: ClaimSeen) -> Claim | None:
    alike = [one for one in case.claims if one.waybill == event.waybill and one.kind is event.kind]
    return next((one for one in alike if event.carrier is None or same_carrier(event.carrier, one.carrier)), None)
