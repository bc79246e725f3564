"""``rmabridge templates``: the words, as buyers will read them."""

from __future__ import annotations

from pathlib import Path

import click

from .app import App, command
from .output import document, table


@click.group()
def templates() -> None:
    """List and preview message templates."""


@templates.command("list")
@command
def list_(app: App) -> None:
    """Every template with its version, forms and languages."""
    from ..core.templates import Catalogue

    catalogue = Catalogue(_own(app))
    found = [
        {
            "id": one.id,
            "version": one.version,
            "kind": one.kind,
            "forms": " ".join(one.forms),
            "locales": " ".join(one.bodies),
            "from": " ".join(dict.fromkeys(body.file for body in one.bodies.values())),
        }
        for one in map(catalogue.text, catalogue.ids())
    ]
    table(app, found, ("id", "version", "kind", "forms", "locales", "from"))


@templates.command()
@click.argument("template")
@click.option("--locale", default="zh-CN", show_default=True, help="The buyer's language.")
@click.option("--form", type=click.Choice(["thread", "chat", "mail", "sms", "call"]), default="mail", show_default=True)
@click.option("--sample", type=click.Choice(["typical", "worst", "bare"]), default="typical", show_default=True)
@command
def preview(app: App, template: str, locale: str, form: str, sample: str) -> None:
    """A template with sample values, and how long it is."""
    from ..core.templates import Catalogue
    from ..errors import CommandError
    from ..model import Form

    catalogue = Catalogue(_own(app))
    if template not in catalogue.ids():
        raise CommandError(f"{template}: no such template; see 'rmabridge templates list'")
    said = catalogue.preview(template, locale, Form(form), sample)
    facts = {"template": f"{said.template.id}@{said.template.version}", "locale": said.template.locale}
    sizes = {"characters": len(said.text), "bytes": len(said.text.encode())}
    document(app, {**facts, **sizes, "subject": said.subject, "text": said.text})


def _own(app: App) -> Path | None:
    return app.config.bridge.templates_dir if app.path.exists() else None
