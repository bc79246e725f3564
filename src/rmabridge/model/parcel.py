"""Parcels in one vocabulary, whatever the carrier calls things."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from pydantic import AwareDatetime, Field

from .stored import Value


class Direction(StrEnum):
    """``out`` goes to the buyer, ``back`` to the shop."""

    OUT = "out"
    BACK = "back"


class ParcelStatus(StrEnum):
    """Where a parcel is; ordered from registered to ended."""

    PENDING = "pending"
    INVALID_NUMBER = "invalid_number"
    INFO_RECEIVED = "info_received"
    PICKED_UP = "picked_up"
    IN_TRANSIT = "in_transit"
    ARRIVED_DESTINATION = "arrived_destination"
    CUSTOMS = "customs"
    OUT_FOR_DELIVERY = "out_for_delivery"
    AVAILABLE_FOR_PICKUP = "available_for_pickup"
    ATTEMPT_FAILED = "attempt_failed"
    DELAYED = "delayed"
    ON_HOLD = "on_hold"
    FORWARDED = "forwarded"
    EXCEPTION = "exception"
    RETURNING = "returning"
    DELIVERED = "delivered"
    RETURNED = "returned"
    CANCELLED = "cancelled"
    LOST = "lost"
    DESTROYED = "destroyed"
    EXPIRED = "expired"


class ParcelException(StrEnum):
    """What went wrong with a parcel."""

    DAMAGED = "damaged"
    LOST = "lost"
    PARTIAL_LOSS = "partial_loss"
    WRONG_ITEM = "wrong_item"
    NOT_RECEIVED = "not_received_but_delivered"
    REFUSED = "refused"
    RECIPIENT_UNAVAILABLE = "recipient_unavailable"
    ADDRESS_PROBLEM = "address_problem"
    OUT_OF_AREA = "out_of_area"
    UNCLAIMED = "unclaimed"
    CUSTOMS_HOLD = "customs_hold"
    SECURITY = "security_prohibited"
    WEATHER = "weather_force_majeure"
    DELAYED = "delayed_carrier"
    SHIPPER_DATA = "shipper_data"
    INTERCEPTED = "intercepted"
    RETURNING = "returning"
    CANCELLED = "cancelled"
    DESTROYED = "destroyed"


FINAL: Final = frozenset(
    {ParcelStatus.DELIVERED, ParcelStatus.RETURNED, ParcelStatus.CANCELLED, ParcelStatus.LOST, ParcelStatus.DESTROYED}
)


class Scan(Value):
    """One line of a tracking history; ``code`` is the carrier's own."""

    at: AwareDatetime
    status: ParcelStatus
    exception: ParcelException | None = None
    text: str = ""
    place: str | None = None
    code: str | None = None


class Silence(Value):
    """What a presumed loss rests on: nothing was heard ``since``, and ``status`` was the carrier's last word."""

    since: AwareDatetime
    status: ParcelStatus


class Told(Value):
    """What the carrier said last of a parcel of which the bridge knows better."""

    status: ParcelStatus
    exception: ParcelException | None = None
    delivered_at: AwareDatetime | None = None


class Parcel(Value):
    """A parcel. ``carrier`` is the bridge's code (Kdniao's where it has one), ``waybill`` the normalised number."""

    waybill: str
    carrier: str | None = None
    carrier_name: str | None = None
    direction: Direction = Direction.OUT
    status: ParcelStatus = ParcelStatus.PENDING
    exception: ParcelException | None = None
    eta: AwareDatetime | None = None
    shipped_at: AwareDatetime | None = None
    delivered_at: AwareDatetime | None = None
    url: str | None = None
    scans: tuple[Scan, ...] = ()
    checked_at: AwareDatetime | None = Field(None, description="when the carrier last answered a question about it")
    silence: Silence | None = Field(None, description="why the parcel is presumed lost, or once was")
    turns: bool | None = Field(None, description="its carrier calls it delivered when it has come back, too")
    told: Told | None = Field(None, description="the carrier's own word, where the bridge knows better")

    @property
    def last(self) -> Scan | None:
        """The newest scan."""
        return self.scans[-1] if self.scans else None

    def dated(self, otherwise: datetime) -> datetime:
        """The time of a snapshot: that of its newest scan. One whose state says something else than the scan is newer
        than one that shows the scan alone, by a microsecond."""
        last = self.last
        if last is None:
            return otherwise
        same = (self.status, self.exception) == (last.status, last.exception)
        return last.at if same else last.at + timedelta(microseconds=1)

    @property
    def final(self) -> bool:
        """Whether nothing more is expected of the carrier."""
        return self.status in FINAL
