"""Labels printed by the shop's own system; one for a carrier that the buyer did not ask for needs a reason."""

from __future__ import annotations

from rmabridge.abilities import Context, PrintsLabels, Result
from rmabridge.errors import Rejected
from rmabridge.model import Direction, Parcel, ParcelSeen, PrintLabel, Ref, RefKind
from rmabridge.wire.carriers import carrier
from rmabridge.wire.waybills import normalise

from .system import System


class Labels(System, PrintsLabels):
    """The call for ``label.print``; its answer's id is the waybill's number."""

    async def print_label(self, action: PrintLabel, ctx: Context) -> Result:
        """Print the label, unless the buyer asked for another carrier; the parcel is the case's from then on."""
        if _refused(action):
            raise Rejected(
                f"the buyer asked for {', '.join(action.asked)}, not {action.carrier}",
                hint="print it for the carrier asked for, or say in 'override' why another one is used",
            )
        made = await self.perform(action, ctx)
        number = normalise(made.id or "")
        return Result(id=made.id, url=made.url, events=(_sent(action, number, ctx),) if number else ())


def _refused(action: PrintLabel) -> bool:
    wanted = {_code(one) for one in action.asked}
    return bool(wanted) and not action.override and _code(action.carrier or "") not in wanted


def _code(name: str) -> str:
    known = carrier(name)
    return known.code if known else name.casefold()


def _sent(action: PrintLabel, number: str, ctx: Context) -> ParcelSeen:
    return ParcelSeen(
        key=f"label:{action.external}:{action.part}:{number}",
        at=ctx.now(),
        refs=(Ref(kind=RefKind.WAYBILL, value=number),),
        parcel=Parcel(waybill=number, carrier=action.carrier, direction=Direction.OUT),
    )
