"""Where the goods are as they should be: how they are used is explained, with a link, and nobody is blamed."""

from __future__ import annotations

from collections.abc import Iterator

from rmabridge.abilities import Shop, View
from rmabridge.core.reach import language, tell
from rmabridge.model import Action, Case, Form, SendMessage

from .liability import CUSTOMER


def explains(case: Case, shop: Shop) -> bool:
    """Whether the case is one to explain: nothing is wrong with the goods, and there is a page that helps."""
    return shop.help_url is not None and CUSTOMER in {case.liable, case.cause}


def explain(case: Case, view: View) -> Iterator[Action]:
    """The explanation, once a round."""
    key = f"evidence:explain:{case.round}"
    if explains(case, view.shop) and not view.proposed(key):
        message = tell(case, view, key, "proposal.explain", help=view.shop.help_url)
        yield from (message,) if message else ()


def linked(action: Action, case: Case, view: View) -> Action | None:
    """Words to the buyer of such a case with the link, whoever wrote them, where the way has room for it."""
    shop = view.shop
    if not isinstance(action, SendMessage) or action.audience != "buyer" or not explains(case, shop):
        return None
    if str(shop.help_url) in action.text or view.render is None:
        return None
    help_ = view.render("evidence.help", action.locale or language(case, shop), Form.CHAT, help=shop.help_url).text
    text = f"{action.text}\n{help_}"
    ways = [one for one in shop.ways if one.form is action.form and action.account in {None, one.account}]
    fits = all(one.takes(None) and (one.limit is None or one.limit.fits(text)) for one in ways)
    return action.model_copy(update={"text": text}) if fits else None
