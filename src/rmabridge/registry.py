"""Find plugins, check them, make the configured accounts. The only user of the plugin manager."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final, cast

import pluggy
from pydantic import BaseModel, ValidationError

from . import abilities, hookspecs
from .abilities import (
    Context,
    Handler,
    KeepsTickets,
    Parses,
    Plugin,
    Policy,
    PrintsLabels,
    Result,
    SendsMessages,
    Shop,
    TracksParcels,
    Way,
)
from .config import Config, Section, explain, placed
from .core.judge import Asked
from .core.rules import NONE, tables
from .errors import ConfigError
from .loading import GROUP, OtherApi, Source, load, sources
from .model import Action, Form

PURE: Final = ("decide", "amend", "review")
Caller = Callable[..., Any]


class Manager(pluggy.PluginManager):
    """Finds hook impls of account objects on their class, at hook names only: fields are never touched.

    Of a module it looks at the functions only: pluggy takes its time with every other name, too.
    """

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        """Which functions of the specifications' module are hooks."""
        return super().parse_hookspec_opts(module_or_class, name) if _is_function(module_or_class, name) else None

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        """Which methods of a plugin object are hooks."""
        if isinstance(plugin, ModuleType) and not _is_function(plugin, name):
            return None
        if not isinstance(plugin, BaseModel):
            return super().parse_hookimpl_opts(plugin, name)
        own = getattr(type(plugin), name, None) if name in (*PURE, "route") else None
        if own is None or (own is getattr(Policy, name, None) and name in PURE):
            return None
        return pluggy.HookimplOpts(
            wrapper=False, hookwrapper=False, optionalhook=False, tryfirst=False, trylast=False, specname=None
        )


def _is_function(module: ModuleType, name: str) -> bool:
    return isinstance(vars(module).get(name), FunctionType)


@dataclass(slots=True)
class Registry:
    """The configured world: accounts, policies and shops, ready to be called."""

    accounts: dict[str, Plugin]
    policies: list[Asked]
    shops: dict[str, Shop]
    kinds: dict[str, str]
    routes: dict[str, Caller]
    of_account: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def handler(self, account: str, action: Action) -> Handler | None:
        """How the account carries the action out, or None."""
        caller = self.routes.get(account)
        found = caller(action=action) if caller else None
        return found if isinstance(found, Handler) else None

    def parser(self, account: str) -> Parses:
        """The account as one whose bodies can be parsed."""
        plugin = self.accounts.get(account)
        if not isinstance(plugin, Parses):
            raise ConfigError(f"[{self.kinds.get(account, '?')}.{account}]: receives nothing that could be parsed")
        return plugin

    def shop_of(self, account: str, named: str | None) -> str | None:
        """The shop that an account's event belongs to: the one it names, else the only one the account serves."""
        if named is not None:
            return named if named in self.shops else None
        serving = self.of_account.get(account, ())
        return serving[0] if len(serving) == 1 else None


@cache
def _finder() -> Manager:
    """A manager that one module at a time is registered with: reading the hook specifications takes a while."""
    manager = Manager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def classes(module: ModuleType, kind: str) -> list[type[Plugin]]:
    """The plugin classes that the module registers for a kind (``carriers``, ``policies`` …)."""
    manager = _finder()
    try:
        manager.register(module)
        manager.check_pending()
        found = [one for many in getattr(manager.hook, f"register_{kind}")() for one in many]
    finally:
        if manager.is_registered(module):
            manager.unregister(module)
    for one in found:
        if hidden := _hidden(one):
            raise TypeError(f"the setting {hidden!r} of {one.__name__} hides the method of that name; rename it")
        one.model_rebuild()  # a setting of a type that pydantic does not know is told now
    return found


def _hidden(plugin: type[Plugin]) -> str | None:
    """A setting named like a method that the bridge calls: the method would silently be gone."""
    ours = [one for one in plugin.__mro__ if one.__module__.startswith(abilities.__name__)]
    return next((one for one in plugin.model_fields if any(callable(vars(each).get(one)) for each in ours)), None)


def build(config: Config) -> Registry:
    """Make every configured account and policy; raises ``ConfigError`` with every problem found."""
    problems: list[str] = []
    if config.bridge.carrier_lists:
        problems.extend(_carriers(config.bridge.carrier_lists))
    known = sources(config.bridge.plugins_dir)
    accounts: dict[str, Plugin] = {}
    for section in config.accounts.values():
        if made := _make(section, known, problems, config.folder):
            accounts[section.name] = made
    sections = _policy_sections(config)
    policies = [one for one in (_make(each, known, problems, config.folder) for each in sections) if one]
    if not problems:
        problems.extend(_shop_problems(config, accounts))
    if problems:
        raise ConfigError(*problems)
    registry = _wire(config, accounts, [one for one in policies if isinstance(one, Policy)])
    for shop in config.shops.values():
        shop._ways = tuple(_ways(shop, accounts))  # noqa: SLF001
        shop._platform = config.accounts[shop.marketplace].plugin if shop.marketplace else ""  # noqa: SLF001
    return registry


def _carriers(lists: Mapping[str, Path]) -> Iterable[str]:
    from .wire import carrierlists

    try:
        carrierlists.use(lists)
    except (ConfigError, OSError) as error:
        yield f"[bridge] carrier_lists: {error}"


def _policy_sections(config: Config) -> Iterable[Section]:
    for name in config.bridge.policies:
        section = config.policies.get(name) or Section("policies", name, {})
        if section.plugin == "routing" and config.routes:
            section = replace(section, values={**section.values, "rules": config.routes})
        yield section


def _make(section: Section, known: dict[str, Source], problems: list[str], folder: Path | None) -> Plugin | None:
    source = known.get(section.plugin)
    if source is None:
        near = ", ".join(sorted(known))
        problems.append(f"{section.where} plugin: {section.plugin!r} is not installed; there are {near}")
        return None
    try:
        offered = classes(load(source), section.kind)
    except OtherApi as error:
        problems.append(f"{section.where} plugin: {error}")
        return None
    except Exception as error:  # noqa: BLE001 - a plugin's own fault, told to the operator with its name
        problems.append(f"{section.where} plugin: {source.origin} cannot be loaded: {type(error).__name__}: {error}")
        return None
    if len(offered) != 1:
        what = f"offers no {section.kind}" if not offered else f"offers {len(offered)} {section.kind}"
        problems.append(
            f"{section.where} plugin: {section.plugin!r} {what}; see 'rmabridge plugins show {section.plugin}'"
        )
        return None
    try:
        values = placed(offered[0], section.values, folder)
        made = offered[0].model_validate({**values, "plugin": section.plugin})
    except ValidationError as error:
        problems.extend(explain(error, section.where))
        return None
    made._account = section.name  # noqa: SLF001
    return made


NEEDS: Final[tuple[tuple[str, type[Any], str], ...]] = (
    ("helpdesk", KeepsTickets, "keeps no tickets"),
    ("carrier", TracksParcels, "tracks no parcels"),
    ("labels", PrintsLabels, "prints no labels"),
)


def _shop_problems(config: Config, accounts: dict[str, Plugin]) -> Iterable[str]:
    for shop in config.shops.values():
        if shop.reach not in {None, NONE, *tables()}:
            yield f"[shops.{shop.name}] reach: no rules for {shop.reach!r}; there are {', '.join(tables())} and {NONE}"
        for slot, ability, reason in NEEDS:
            name = getattr(shop, slot)
            if name and not isinstance(accounts.get(name), ability):
                yield f"[shops.{shop.name}] {slot}: [{config.accounts[name].kind}.{name}] {reason}"
        for slot in ("channels", "staff"):
            for name in getattr(shop, slot):
                if not isinstance(accounts.get(name), SendsMessages):
                    yield f"[shops.{shop.name}] {slot}: {name!r} sends no messages"
        for form in Form:
            both = [way.account for way in _ways(shop, accounts) if way.form is form]
            if len(both) > 1:
                yield f"[shops.{shop.name}] channels: {' and '.join(both)} both carry {form}; keep one of them"


def _ways(shop: Shop, accounts: dict[str, Plugin]) -> Iterable[Way]:
    names = dict.fromkeys((*shop.channels, *([shop.marketplace] if shop.marketplace else [])))
    for form in shop.prefer:
        for name in names:
            plugin = accounts.get(name)
            if isinstance(plugin, SendsMessages) and plugin.carries(form):
                yield Way(account=name, form=form, limit=plugin.limit(form), knows=plugin.knows)


def _wire(config: Config, accounts: dict[str, Plugin], policies: list[Policy]) -> Registry:
    wrappers: list[object] = []
    if config.bridge.dry_run or any(one.dry_run for one in accounts.values()):
        wrappers.append(DryRun(config.bridge.dry_run, accounts))
    return Registry(
        accounts=accounts,
        policies=[_asked(one) for one in policies],
        shops=config.shops,
        kinds={name: one.kind for name, one in config.accounts.items()},
        routes={name: _first(_manager(one, wrappers).hook.route) for name, one in accounts.items()},
        of_account=_serving(config, accounts),
    )


def _serving(config: Config, accounts: dict[str, Plugin]) -> dict[str, tuple[str, ...]]:
    """The shops of each account: where it is a marketplace or a source, else where it is a help desk or a channel."""
    named: dict[str, tuple[str, ...]] = {}
    heard: dict[str, tuple[str, ...]] = {}
    for shop in config.shops.values():
        for one in filter(None, dict.fromkeys((shop.marketplace, *shop.sources))):
            named[one] = (*named.get(one, ()), shop.name)
        for one in filter(None, dict.fromkeys((shop.helpdesk, *shop.channels))):
            if isinstance(accounts.get(one), Parses):
                heard[one] = (*heard.get(one, ()), shop.name)
    return heard | named


def _manager(plugin: Plugin, wrappers: list[object]) -> Manager:
    """A manager of one object and the hook wrappers: its callers reach no other account or policy, and are as fast as
    pluggy's direct ones (a subset caller of a shared manager filters all of its plugins at every call)."""
    manager = Manager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, plugin.account)
    for number, wrapper in enumerate(wrappers):
        manager.register(wrapper, f"wrapper:{number}")
    return manager


def _first(caller: Any) -> Caller:
    """The caller's first answer. Where no wrapper stands around the one impl, it is called as pluggy would call it."""
    impls = caller.get_hookimpls()
    if len(impls) == 1 and not impls[0].wrapper and not impls[0].hookwrapper:
        function, named = impls[0].function, impls[0].argnames
        if set(named) == set(caller.spec.argnames):
            return cast("Caller", function)
        return lambda **arguments: function(**{one: arguments[one] for one in named})

    def call(**arguments: Any) -> Any:
        results = caller(**arguments)
        return results[0] if results else None

    return call


def _asked(policy: Policy) -> Asked:
    manager, callers = _manager(policy, []), {}
    for name in PURE:
        has = getattr(type(policy), name) is not getattr(Policy, name)
        callers[name] = _first(getattr(manager.hook, name)) if has else None
    return Asked(policy.account, policy, callers["decide"], callers["amend"], callers["review"])


class DryRun:
    """A hook wrapper around ``route``: accounts on a dry run get a handler that lets nothing leave."""

    def __init__(self, everything: bool, accounts: dict[str, Plugin]) -> None:
        self.everything = everything
        self.names = {name for name, one in accounts.items() if one.dry_run}

    @hookspecs.hookimpl(wrapper=True)
    def route(self, action: Action) -> Any:
        """The handler, with its method replaced on a dry run."""
        handlers = yield
        if self.everything or action.account in self.names:
            return [replace(one, method=_not_sent, repeatable=True, find=None) for one in handlers]
        return handlers


async def _not_sent(action: Action, ctx: Context) -> Result:
    return Result(id=f"dry-run-{ctx.idempotency_key[:8]}", note="dry run: nothing was sent")
