"""How words reach a buyer: the best way that the shop has and the buyer can be found on."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, Final, NamedTuple

from ..abilities import Shop, View, Way
from ..errors import ConfigError
from ..model import Case, Form, Money, Parcel, RefKind, SendMessage, TemplateRef
from ..model.case import Arrival, Sent
from .freshness import known_at
from .rules import forbidden, rules, tightest
from .templates import Rendered

# Forms whose vendors may carry templates of their own only: their plugins need the values beside the words.
APPROVED: Final = frozenset({Form.SMS, Form.CHAT})
# What may hold a time.
TIMED: Final = (dict, list, datetime)


class Reached(NamedTuple):
    """A way, and where on it the buyer is."""

    way: Way
    address: str


class Reach(NamedTuple):
    """The ways to a buyer, the best first; ``fallen`` are (account/form, reason) of the others."""

    ways: list[Reached]
    fallen: list[tuple[str, str]]


def ways(case: Case, shop: Shop, text: str | None = None, template: TemplateRef | None = None) -> Reach:
    """All ways to the case's buyer, the best first, and why the others fall out.

    Those that take the text, where one is given: a template's, or free text.
    """
    found, failed, platform = Reach([], []), lost(case), shop.platform
    limits = rules(platform).limits
    for one in sorted(shop.ways, key=lambda one: _rank(one.form, shop)):
        way = one.model_copy(update={"limit": tightest(one.limit, limits[one.form])}) if one.form in limits else one
        address = _address(case, way)
        gone = failed.get((way.account, way.form)) or failed.get((way.account, None))
        reason = _unfit(case, shop, platform, way, address) or _failed(gone)
        if reason := reason or _unknown(way, text, template) or _long(way, text):
            found.fallen.append((f"{way.account}/{way.form}", reason))
        elif address:
            found.ways.append(Reached(way, address))
    return found


def lost(case: Case) -> dict[tuple[str, Form | None], tuple[Sent, Arrival]]:
    """Ways (account, form) whose newest receipt says that a message to the buyer did not arrive, with message and
    receipt."""
    if not case.talk.arrivals:
        return {}
    sent = {name: one for one in case.talk.sent for name in (one.ref, one.delivery) if name}
    newest: dict[tuple[str, Form | None], tuple[Sent, Arrival]] = {}
    for one in case.talk.arrivals:
        if said := sent.get(one.message) or sent.get(one.delivery or ""):
            newest[said.account, said.form] = said, one
    return {way: found for way, found in newest.items() if not found[1].ok}


def language(case: Case, shop: Shop) -> str:
    """The buyer's language, or the shop's where nothing is known of it."""
    return (case.buyer.locale if case.buyer else None) or shop.locale


def tell(case: Case, view: View, purpose: str, template: str, **values: Any) -> SendMessage | None:
    """A message to the buyer from a template, on the best way that it fits on; None where nothing reaches the buyer.

    Where it fits on none it goes on the best all the same: what that account says of it, the operator reads.
    """
    locale, best, unknown = language(case, view.shop), None, None
    for way, address in ways(case, view.shop).ways:
        said = _fitting(case, view, template, locale, way, values)
        plain = _plain(case, view.shop, values) if way.form in APPROVED else {}
        more = {"locale": locale, "template": said.template, "values": plain}
        made = send(case, purpose, Reached(way, address), said.text, subject=said.subject, **more)
        if not way.takes(said.template):
            unknown = unknown or made
        elif way.limit is None or way.limit.fits(said.text):
            return made
        else:
            best = best or made
    return best or unknown


def _fitting(case: Case, view: View, template: str, locale: str, way: Way, values: dict[str, Any]) -> Rendered:
    """The words for the way; where they are too long for it, the template's shortest ones."""
    said = _say(case, view, template, locale, way.form, values)
    if _long(way, said.text):
        with suppress(ConfigError):  # not every template has words for a text message
            short = _say(case, view, template, locale, Form.SMS, values)
            return said if _long(way, short.text) else Rendered(short.text, said.subject, short.template)
    return said


def send(
    case: Case, purpose: str, reached: Reached, text: str, *, subject: str | None = None, **more: Any
) -> SendMessage:
    """Words to the buyer on one way; ``more`` are further fields of the message."""
    return SendMessage(
        purpose=purpose,
        account=reached.way.account,
        form=reached.way.form,
        to=reached.address,
        name=case.buyer.name if case.buyer else None,
        text=text,
        subject=subject,
        thread_key=case.id,
        **more,
    )


def note(case: Case, view: View, template: str, form: Form = Form.CHAT, **values: Any) -> Rendered:
    """A template's words for colleagues, in the shop's own language."""
    return _say(case, view, template, view.shop.locale, form, values)


def shown(parcel: Parcel, *, old: bool = False) -> dict[str, Any]:
    """A parcel as templates speak of it; ``old``: the carrier could not be asked, and this is what was known."""
    last = parcel.last
    return {
        "old": old,
        "as_of": known_at(parcel),
        "waybill": parcel.waybill,
        "carrier": parcel.carrier_name or parcel.carrier,
        "direction": parcel.direction,
        "status": parcel.status,
        "last_at": last.at if last else None,
        "last_text": last.text if last else None,
        "place": last.place if last else None,
        "eta": None if parcel.final else parcel.eta,
        "url": parcel.url,
    }


def _say(case: Case, view: View, template: str, locale: str, form: Form, values: dict[str, Any]) -> Rendered:
    if view.render is None:
        raise RuntimeError("this view has no templates")
    given = _common(case, view.shop) | values
    given |= {name: _local(value, view.shop) for name, value in given.items() if isinstance(value, TIMED)}
    said: Rendered = view.render(template, locale, form, **given)
    return said


def _common(case: Case, shop: Shop) -> dict[str, Any]:
    order = case.order
    return {
        "case": case.id,
        "name": case.buyer.name if case.buyer else None,
        "shop": shop.title or shop.name,
        "order": (order.number or order.id) if order else None,
        "issue": case.issue,
    }


def _plain(case: Case, shop: Shop, values: dict[str, Any]) -> dict[str, str]:
    """The values that are one word or number; an approved template has no room for lists and addresses."""
    given = _common(case, shop) | values
    return {name: text for name, value in given.items() if (text := _word(value, shop))}


def _word(value: Any, shop: Shop) -> str:
    if isinstance(value, datetime):
        return value.astimezone(shop.zone).date().isoformat()
    if isinstance(value, Money):
        return str(value.rounded())
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _local(value: Any, shop: Shop) -> Any:
    """Times as the shop's clock shows them, also inside lists of parcels and the like."""
    if isinstance(value, dict):
        return {name: _local(one, shop) for name, one in value.items()}
    if isinstance(value, list):
        return [_local(one, shop) for one in value]
    return value.astimezone(shop.zone) if isinstance(value, datetime) else value


def _rank(form: Form, shop: Shop) -> int:
    return shop.prefer.index(form) if form in shop.prefer else len(shop.prefer)


def _address(case: Case, way: Way) -> str | None:
    if way.form is Form.THREAD:
        threads = [one for one in case.refs if one.kind is RefKind.THREAD]
        here = [one.value for one in threads if one.account == way.account]
        known = case.buyer.thread if case.buyer else None
        ours = known if known in here else next(iter(here), None)
        # A thread id means something at its own account only.
        return ours or (known if known not in {one.value for one in threads} else None)
    return case.buyer.way(way.form) if case.buyer else None


def _unfit(case: Case, shop: Shop, platform: str, way: Way, address: str | None) -> str | None:
    if way.form not in shop.prefer:
        return f"the shop does not prefer {way.form}"
    if not address:
        return "the buyer's address on it is not known" if case.buyer else "nothing is known of the buyer"
    if f"{way.account}/{way.form}" in case.talk.closed:
        return "the buyer opted out of it"
    return forbidden(platform, way.form, address)


def _long(way: Way, text: str | None) -> str | None:
    if text is None or way.limit is None or way.limit.fits(text):
        return None
    return f"the words are too long for it: {len(text)} characters, {len(text.encode())} bytes"


def _unknown(way: Way, text: str | None, template: TemplateRef | None) -> str | None:
    if text is None or way.takes(template):
        return None
    return f"it carries no words of {template.id}" if template else "it carries approved templates only, no free text"


def _failed(what: tuple[Sent, Arrival] | None) -> str | None:
    return what and f"{what[0].action} did not arrive: {what[1].reason or 'no reason was given'}"
