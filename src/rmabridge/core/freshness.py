"""How old the bridge's knowledge of a parcel is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ..model import Parcel

FRESH: Final = timedelta(minutes=15)


def known_at(parcel: Parcel) -> datetime | None:
    """When the carrier last said anything of the parcel, or answered that there is nothing new."""
    said = [one for one in (parcel.checked_at, parcel.last.at if parcel.last else None) if one is not None]
    return max(said, default=None)


def stale(parcel: Parcel, now: datetime, fresh: timedelta = FRESH) -> bool:
    """Whether a parcel that is still on its way may have moved since."""
    at = known_at(parcel)
    return not parcel.final and (at is None or now - at > fresh)
