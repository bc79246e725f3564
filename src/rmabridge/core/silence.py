"""A parcel presumed lost: what holds against snapshots without news, and gives way to a new scan.

The presumption does not overwrite what the carrier said. It lies over it for as long as nothing new is heard, so that
the order in which snapshots and presumption are folded does not matter.
"""

from __future__ import annotations

from ..model import Parcel, ParcelException, ParcelStatus
from ..model.parcel import Told


def as_told(parcel: Parcel) -> Parcel:
    """The parcel as its carrier tells, without a presumption over it."""
    if parcel.told is None:
        return parcel
    said = parcel.told
    return parcel.model_copy(update={"status": said.status, "exception": said.exception, "told": None})


def presumed(parcel: Parcel) -> Parcel:
    """The parcel with its presumption over what the carrier tells, where that still holds."""
    if not holds(parcel):
        return parcel
    said = Told(status=parcel.status, exception=parcel.exception)
    return parcel.model_copy(
        update={"status": ParcelStatus.LOST, "exception": ParcelException.LOST, "told": said},
    )


def holds(parcel: Parcel) -> bool:
    """Whether nothing was heard of the parcel, as told, since the silence that it is presumed lost for."""
    silence = parcel.silence
    if silence is None or parcel.final or parcel.status is not silence.status:
        return False
    return parcel.last is None or parcel.last.at <= silence.since
