"""``rmabridge plugins``: which plugins there are and what they can do."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from .app import App, command
from .output import document, plain, table

if TYPE_CHECKING:
    from ..abilities import Plugin
    from ..loading import Source

ALL_KINDS: Final = ("marketplaces", "helpdesks", "carriers", "channels", "services", "policies")


@click.group()
def plugins() -> None:
    """Which plugins there are and what they can do."""


@plugins.command("list")
@click.option("--why", metavar="NAME", help="Where this plugin comes from, and why it is (not) usable.")
@command
def list_(app: App, why: str | None) -> None:
    """Every plugin that the configuration may name."""
    known = _sources(app)
    if why:
        document(app, _why(app, why, known))
        return
    from ..testing.quality import quality

    used = _used(app)
    found = [
        {"name": one.name, "level": quality(one).shown, "from": one.origin, "used by": used.get(one.name, [])}
        for one in known.values()
    ]
    table(app, sorted(found, key=lambda one: str(one["name"])), ("name", "level", "from", "used by"))


def _plugins_dir(app: App) -> Path | None:
    return app.config.bridge.plugins_dir if app.path.exists() else None


def _sources(app: App) -> dict[str, Source]:
    from ..loading import sources

    return sources(_plugins_dir(app))


def _used(app: App) -> dict[str, list[str]]:
    used: dict[str, list[str]] = {}
    if app.path.exists():
        for one in app.config.accounts.values():
            used.setdefault(one.plugin, []).append(f"{one.kind}.{one.name}")
        for name in app.config.bridge.policies:
            used.setdefault(name, []).append(f"policies.{name}")
    return used


def _why(app: App, name: str, known: dict[str, Source]) -> dict[str, Any]:
    if name not in known:
        folder = _plugins_dir(app)
        looked = "installed packages with an entry point in the group 'rmabridge'"
        return {
            "name": name,
            "usable": False,
            "why": f"not among the {looked}" + (f" nor in {folder}" if folder else ""),
        }
    from ..loading import OtherApi

    source, used = known[name], _used(app).get(name, [])
    facts = {"name": name, "from": source.origin, "module": source.module, "used_by": used}
    try:
        kinds = sorted(_classes(source))
    except OtherApi as error:
        return {**facts, "usable": False, "why": str(error)}
    except Exception as error:  # noqa: BLE001 - a plugin's own fault is the answer
        return {**facts, "usable": False, "why": f"it cannot be loaded: {type(error).__name__}: {error}"}
    why = f"registers {', '.join(kinds)}" if kinds else "registers nothing: it has no register_… hook"
    return {**facts, "usable": bool(kinds), "why": why}


def _classes(source: Source) -> dict[str, list[type[Plugin]]]:
    from ..loading import load
    from ..registry import classes

    module = load(source)
    found = {kind: classes(module, kind) for kind in ALL_KINDS}
    return {kind: many for kind, many in found.items() if many}


@plugins.command()
@click.argument("name")
@command
def show(app: App, name: str) -> None:
    """One plugin: what it does, which settings it has."""
    from ..errors import CommandError

    source = _sources(app).get(name)
    if source is None:
        raise CommandError(f"{name}: no such plugin; see 'rmabridge plugins list'")
    by_class: dict[type[Plugin], list[str]] = {}
    for kind, many in _classes(source).items():
        for one in many:
            by_class.setdefault(one, []).append(kind)
    told = [described(one, kinds, source) for one, kinds in by_class.items()]
    if app.as_json:
        document(app, {"name": name, "plugins": told})
        return
    for each in told:
        _print(app, each)


def described(plugin: type[Plugin], kinds: list[str], source: Source) -> dict[str, Any]:
    """Everything that a class says of itself."""
    from ..testing.quality import quality

    module, found = inspect.getmodule(plugin), quality(source)
    return {
        "title": plugin.title or plugin.__name__,
        "kinds": kinds,
        "from": source.origin,
        "reference": plugin.reference,
        "level": found.shown,
        "no higher level because": list(found.lacking),
        "evidence": found.counted,
        "abilities": sorted(_abilities(plugin)),
        "actions": sorted(one.kind for one in plugin.performs()),
        "about": inspect.cleandoc(getattr(module, "__doc__", "") or ""),
        "settings": [_setting(name, one) for name, one in plugin.model_fields.items()],
    }


def _abilities(plugin: type[Plugin]) -> set[str]:
    from .. import abilities

    named = {getattr(abilities, name) for name in abilities.__all__ if name not in {"Plugin", "Parses"}}
    return {base.__name__ for base in plugin.__mro__ if base in named}


def _setting(name: str, field: Any) -> dict[str, Any]:
    secret = "Secret" in str(field.annotation)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    shown = "***" if secret and default else default
    if shown is not None and not isinstance(shown, bool | int | float | str):
        shown = str(sorted(shown)) if isinstance(shown, set | frozenset) else str(shown)
    facts = {"setting": name, "type": _type(field.annotation), "required": field.is_required(), "secret": secret}
    return {**facts, "default": shown, "description": field.description or ""}


def _type(annotation: Any) -> str:
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    for prefix in (
        "typing.",
        "datetime.",
        "rmabridge.model.people.",
        "rmabridge.abilities.secrets.",
        "pydantic.types.",
    ):
        text = text.replace(prefix, "")
    return text


def _print(app: App, told: dict[str, Any]) -> None:
    document(app, {name: one for name, one in told.items() if name not in {"about", "settings"}})
    click.echo(f"\n{plain(told['about'])}\n")
    table(app, told["settings"], ("setting", "type", "required", "default", "description"))
