"""``rmabridge policy``: the active rules in words, as a table and as a flow chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .app import App, command
from .output import dumped, table

if TYPE_CHECKING:
    from ..abilities import RuleText, Shop
    from ..model import Case

LOCALES = ("en", "zh-CN", "zh-TW")


@click.group()
def policy() -> None:
    """The rules that decide."""


@policy.command()
@click.argument("name", required=False)
@click.option("--shop", help="For this shop; the first one if left out.")
@click.option("--case", "case_id", metavar="CASE", help="As they stand for the order of this case.")
@click.option("--locale", default="en", show_default=True, help=f"The language: {', '.join(LOCALES)}.")
@click.option("--mermaid", "chart", is_flag=True, help="A Mermaid flow chart instead of a table.")
@command
def show(app: App, name: str | None, shop: str | None, case_id: str | None, *, locale: str, chart: bool) -> None:
    """The active rules of every configured policy, or of one: id, words, and whether the shop set them."""
    from ..core.charts import mermaid

    found = rules(app, name, shop, case_id, locale)
    if chart and not app.as_json:
        click.echo(mermaid(found), nl=False)
        return
    rows = [_row(policy, one) for policy, many in found.items() for one in many]
    if app.as_json:
        click.echo(dumped({"rules": rows, **({"mermaid": mermaid(found)} if chart else {})}))
    else:
        table(app, rows, ("policy", "id", "text", "source"), empty="no policy has rules to show")


def rules(app: App, name: str | None, shop: str | None, case_id: str | None, locale: str) -> dict[str, list[RuleText]]:
    """The rules of the configured policies, by policy."""
    from ..core.templates import Catalogue
    from ..errors import CommandError
    from ..model import Form

    asked = [one for one in app.registry.policies if name in (None, one.name)]
    if not asked:
        known = ", ".join(one.name for one in app.registry.policies)
        raise CommandError(f"{name}: no such policy is configured; there are {known}")
    case = _case(app, case_id)
    where, catalogue = _shop(app, case.shop if case else shop), Catalogue(app.config.bridge.templates_dir)

    def say(template: str, **values: Any) -> str:
        return catalogue.render(template, locale, Form.CHAT, **values).text

    return {one.name: list(one.policy.describe(locale, where, say, case)) for one in asked}


def _case(app: App, case_id: str | None) -> Case | None:
    from .cases import load

    return load(app, case_id) if case_id else None


def _shop(app: App, name: str | None) -> Shop:
    from ..errors import CommandError

    shops = app.registry.shops
    found = shops.get(name) if name else next(iter(shops.values()), None)
    if found is None:
        raise CommandError(f"{name or 'shop'}: no such shop; there are {', '.join(sorted(shops)) or 'none'}")
    return found


def _row(policy: str, rule: RuleText) -> dict[str, Any]:
    then = [{"if": condition, "then": after} for condition, after in rule.then]
    return {
        "policy": policy,
        "id": rule.id,
        "text": rule.text,
        "source": rule.source,
        "deadline": rule.deadline,
        "then": then,
    }
