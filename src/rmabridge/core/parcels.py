"""Where a parcel is, where the bridge knows better than its carrier: presumed lost, or back where it came from.

What it knows does not overwrite what the carrier said. It lies over it for as long as it holds, so that the order in
which snapshots, pushed scans and presumption are folded does not matter.
"""

from __future__ import annotations

from typing import Final

from ..model import Parcel, ParcelException, ParcelStatus
from ..model.parcel import Told

# What says where a parcel is bound for: back, or (forwarded) to the receiver once more.
TURNS: Final = frozenset({ParcelStatus.RETURNING, ParcelStatus.RETURNED, ParcelStatus.FORWARDED})


def as_told(parcel: Parcel) -> Parcel:
    """The parcel as its carrier tells, with nothing over it."""
    if parcel.told is None:
        return parcel
    said = parcel.told
    known = {"status": said.status, "exception": said.exception, "delivered_at": said.delivered_at, "told": None}
    return parcel.model_copy(update=known)


def as_known(parcel: Parcel) -> Parcel:
    """The parcel with what the bridge knows over what the carrier tells."""
    if _presumed(parcel):
        known = {"status": ParcelStatus.LOST, "exception": ParcelException.LOST}
    elif _came_back(parcel):
        known = {"status": ParcelStatus.RETURNED, "exception": ParcelException.RETURNING}
    else:
        return parcel
    said = Told(status=parcel.status, exception=parcel.exception, delivered_at=parcel.delivered_at)
    return parcel.model_copy(update={**known, "delivered_at": None, "told": said})


def _presumed(parcel: Parcel) -> bool:
    """Whether nothing was heard of the parcel, as told, since the silence that it is presumed lost for."""
    silence = parcel.silence
    if silence is None or parcel.final or parcel.status is not silence.status:
        return False
    return parcel.last is None or parcel.last.at <= silence.since


def _came_back(parcel: Parcel) -> bool:
    """Whether it was going back when it was delivered, by a carrier that does not tell this apart: to its sender."""
    if not parcel.turns or parcel.status is not ParcelStatus.DELIVERED:
        return False
    turned = [one.status for one in parcel.scans if one.status in TURNS]
    back = turned != [] and turned[-1] is not ParcelStatus.FORWARDED
    return back and parcel.scans[-1].status is ParcelStatus.DELIVERED
