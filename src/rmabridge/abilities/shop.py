"""A shop: which accounts serve it, its hours, and what it grants its customers."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator

from ..model import Address, Form, TemplateRef
from .effects import Limit

_DAY: Final = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Hol)"
_DAYS: Final = rf"(?:daily|{_DAY}(?:-{_DAY})?(?:\s*,\s*{_DAY}(?:-{_DAY})?)*)"
_SPAN: Final = r"(?:[01]\d|2[0-3]):[0-5]\d\s*-\s*(?:(?:[01]\d|2[0-3]):[0-5]\d|24:00)"
# Days, then one or more spans of time: 'Mon-Fri 09:00-12:00, 13:30-18:00', 'Sat 22:00-02:00', 'Hol 10:00-14:00'.
HOURS: Final = re.compile(rf"^({_DAYS})\s+({_SPAN}(?:\s*,\s*{_SPAN})*)$", re.IGNORECASE)


class Way(BaseModel):
    """One way to a buyer: an account of the shop that carries a form, and which words it takes there."""

    model_config = ConfigDict(frozen=True)

    account: str
    form: Form
    limit: Limit | None = None
    knows: Callable[[TemplateRef | None], bool] | None = Field(None, exclude=True, repr=False)

    def takes(self, template: TemplateRef | None) -> bool:
        """Whether the account carries words of the template; None is free text."""
        return self.knows is None or self.knows(template)


class Shop(BaseModel):
    """``[shops.NAME]``: one shop on one marketplace. The accounts named here are sections of the configuration."""

    model_config = ConfigDict(extra="forbid")

    name: str = ""
    title: str = Field("", description="the name customers know; the section's name where it is left out")
    marketplace: str | None = Field(None, description="the account whose orders and requests are this shop's")
    helpdesk: str | None = Field(None, description="the account that keeps the tickets")
    carrier: str | None = Field(None, description="the account that tracks parcels")
    claims: dict[str, str] = Field(
        default_factory=dict,
        description="accounts that take claims, by carrier code; 'default' for all others, the carrier where left out",
    )
    credits: str | None = Field(None, description="the account that issues coupons; the marketplace where left out")
    replacements: str | None = Field(None, description="the account that reships; the marketplace where left out")
    labels: str | None = Field(None, description="the account that prints labels of parcels to buyers")
    classifier: str | None = Field(None, description="the account that reads buyers' words where triage abstains")
    channels: tuple[str, ...] = Field((), description="accounts that reach buyers: mail, SMS, chat")
    staff: tuple[str, ...] = Field((), description="accounts that alert colleagues when a case comes in")
    staff_to: str = Field("staff", description="where the staff channels send: an address, a group, a number")
    sources: tuple[str, ...] = Field((), description="further accounts whose events belong to this shop")
    forwards: tuple[str, ...] = Field((), description="accounts that get every change of a case, signed")
    prefer: tuple[Form, ...] = Field(
        (Form.THREAD, Form.CHAT, Form.MAIL, Form.SMS), description="ways to the buyer, the best first"
    )
    reach: str | None = Field(
        None,
        description="whose rules on reaching buyers are kept ('amazon', 'taobao', 'none'); left out, the "
        "marketplace's own",
    )
    locale: str = Field("en", description="language for buyers whose own is not known")
    help_url: str | None = Field(
        None, description="a page that explains how the goods are used; told where the goods are as they should be"
    )
    timezone: str = Field("UTC", description="IANA name")
    hours: tuple[str, ...] = Field(
        (),
        description="business hours, e.g. 'Mon-Fri 09:00-12:00, 13:30-18:00', also over midnight; 'Hol' is a public "
        "holiday; none: always open",
    )
    around_the_clock: bool = Field(False, description="let all clocks run day and night, whatever the hours")
    holidays: str | None = Field(
        None,
        description="whose public holidays and make-up workdays are kept: 'CN', 'US', or with a region 'DE-BY'",
    )
    holiday_file: Path | None = Field(
        None,
        description="the shop's own days off and make-up workdays, as .toml (off, work, years) or .ics; goes before "
        "the public ones and serves for years that those do not know yet",
    )
    quiet: timedelta = Field(
        timedelta(seconds=20), description="automatic chat answers wait until the buyer has written nothing for so long"
    )
    quiet_most: timedelta = Field(timedelta(seconds=60), description="… but not longer than this after the first line")
    return_window: timedelta = Field(timedelta(days=30), description="how long after delivery a return is approved")
    return_address: Address | None = Field(None, description="where returns go; told to the buyer")
    auto_approve: bool = Field(True, description="approve returns inside the window without a person")
    refund_limit: str = Field(
        "500 CNY", description="refunds above it wait for an approval; one amount per currency, separated by commas"
    )
    refund_days: dict[str, int] = Field(
        default_factory=lambda: {"default": 5}, description="working days until a refund arrives, by payment method"
    )
    dispatch_days: int = Field(2, ge=0, description="working days until an exchange is sent")

    _ways: tuple[Way, ...] = PrivateAttr(default=())
    _platform: str = PrivateAttr(default="")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{name!r} is not an IANA time zone such as 'Asia/Shanghai'") from error
        return name

    @field_validator("help_url")
    @classmethod
    def _page(cls, url: str | None) -> str | None:
        if url is not None and not re.fullmatch(r"https?://[^\s<>]+", url):
            raise ValueError(f"{url!r} is not an address such as 'https://shop.example/help'")
        return url

    @field_validator("hours")
    @classmethod
    def _readable(cls, hours: tuple[str, ...]) -> tuple[str, ...]:
        for one in hours:
            if not HOURS.match(one.strip()):
                raise ValueError(f"{one!r} is not like 'Mon-Fri 09:00-12:00, 13:30-18:00'")
        return hours

    @field_validator("holidays")
    @classmethod
    def _kept_somewhere(cls, code: str | None) -> str | None:
        if code is None:
            return None
        from holidays.registry import EntityLoader

        if code.partition("-")[0] not in set(EntityLoader.get_country_codes(include_aliases=False)):
            raise ValueError(f"{code!r} is not a country whose holidays are known, such as 'CN' or 'DE-BY'")
        return code

    @field_validator("holiday_file")
    @classmethod
    def _there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"{path}: no such file")
        return path.resolve() if path else None

    @property
    def zone(self) -> ZoneInfo:
        """The shop's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def platform(self) -> str:
        """Whose rules on reaching buyers the shop keeps."""
        return self.reach or self._platform

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways to buyers that the shop's accounts offer, in the shop's order of preference."""
        return self._ways

    def accounts(self) -> Iterator[str]:
        """Every account that belongs to the shop."""
        slots = (self.marketplace, self.helpdesk, self.carrier, self.credits, self.replacements, self.labels)
        yield from filter(None, (*slots, self.classifier))
        yield from self.claims.values()
        yield from self.channels
        yield from self.staff
        yield from self.sources
        yield from self.forwards
