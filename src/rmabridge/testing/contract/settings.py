"""What every plugin keeps, whatever it does: its settings, its secrets, its source."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final, NoReturn

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from ...abilities import Plugin, per_second
from ...config import explain
from ...registry import classes
from .. import contexts
from . import source

KINDS: Final = ("marketplaces", "helpdesks", "carriers", "channels", "services", "policies")
SECRET_NAME: Final = re.compile(r"(^|_)(secret|token|password|passphrase|bearer|(api|app|private)_?key)$")
ALLOWED: Final = re.compile(r"rmabridge(\.(model|abilities|wire|errors)(\..+)?)?$|(?!rmabridge\.|rmabridge$).*")
PRINTS: Final = re.compile(r"(print|pprint\.pp(rint)?|logging|structlog|sys\.std(out|err)|warnings\.warn)(\.|$)")
SLEEPS: Final = re.compile(r"(time|asyncio|anyio|trio)\.sleep(_until)?$")
REPEATS: Final = re.compile(r"(tenacity|stamina|backoff|retrying)(\.|$)")
DIALS: Final = re.compile(
    r"(requests|urllib3|urllib\.request|http\.client|socket)(\.|$)"
    r"|httpx\.((Async)?Client|get|post|put|patch|delete|request|stream)$|aiohttp\.(ClientSession|request)$"
)
CLOCKS: Final = re.compile(
    r"datetime\.((datetime|date)\.)?(now|utcnow|today)$|time\.(time|time_ns|monotonic)$|(random|secrets)(\.|$)|uuid\.uuid[14]$"
)
BLOCKS: Final = re.compile(
    r"(open|input)$|os\.(system|popen|wait\w*)$|(subprocess|socket|sqlite3|smtplib|imaplib|poplib|ftplib|select)\."
    r"|asyncio\.run$|shutil\."
)
FILES: Final = frozenset({"read_text", "read_bytes", "write_text", "write_bytes", "run_until_complete"})
UNLIKELY: Final = "unl1kely-Zq7"


class Contract:
    """The checks of any plugin. ``plugin`` is the class, ``settings`` a complete set for one account."""

    plugin: ClassVar[type[Plugin]]
    settings: ClassVar[Mapping[str, Any]] = {}
    kinds: ClassVar[tuple[str, ...]] = KINDS
    allowed: ClassVar[re.Pattern[str]] = ALLOWED

    def account(self, name: str = "acc", **changes: Any) -> Any:
        """An account with the settings, and these changes."""
        return contexts.account(self.plugin, name, **{**self.settings, **changes})

    def unwritten(self, sample: str) -> NoReturn:
        """Say which sample is missing: nobody but the plugin's author knows what the vendor says."""
        raise AssertionError(f"{type(self).__name__} lacks a sample: write {sample}")

    def own_fields(self) -> dict[str, Any]:
        """The settings that the plugin adds to those of every account."""
        return {name: one for name, one in self.plugin.model_fields.items() if name not in Plugin.model_fields}

    def secrets(self) -> set[str]:
        """Every secret of the settings: what the account keeps as one, and what is named like one."""
        account = self.account()
        kept = {one for name in self.plugin.model_fields for one in secrets_in(getattr(account, name))}
        return kept | {one for one in named_secrets(self.settings) if one}

    def refusal(self, **changes: Any) -> str:
        """What an operator reads when these settings are refused; empty when they are not."""
        try:
            self.account(**changes)
        except ValidationError as error:
            return "\n".join(explain(error, "[accounts.acc]"))
        return ""

    # Settings

    def test_an_unknown_setting_is_refused_by_its_name(self) -> None:
        told = self.refusal(no_such_setting="x")
        assert "no_such_setting" in told, 'a misspelt setting goes unnoticed: keep model_config extra="forbid"'

    def test_every_setting_has_a_description(self) -> None:
        bare = [name for name, one in self.own_fields().items() if not one.description]
        assert not bare, f"settings without Field(description=…): {', '.join(bare)}"

    def test_a_missing_setting_is_named(self) -> None:
        for name, one in self.own_fields().items():
            if one.is_required():
                rest = {key: value for key, value in self.settings.items() if key != name}
                with pytest.raises(ValidationError) as caught:
                    contexts.account(self.plugin, "acc", **rest)
                assert name in "\n".join(explain(caught.value, "[accounts.acc]")), f"{name} is missing, unnamed"

    def test_every_address_can_be_set(self) -> None:
        for name, one in self.own_fields().items():
            if isinstance(one.default, str) and source.ADDRESS.search(one.default):
                made = self.account(**{name: "https://elsewhere.example/x"})
                assert getattr(made, name) == "https://elsewhere.example/x", f"{name} cannot be set to a sandbox"

    def test_no_address_is_written_into_the_code(self) -> None:
        found = [one for tree in source.trees(self.plugin).values() for one in source.addresses(tree)]
        assert not found, f"make these settings with a default: {', '.join(found)}"

    def test_the_rate_of_calls_can_be_read(self) -> None:
        rate = self.account().rate
        assert rate is None or per_second(rate) > 0

    # Secrets

    def test_what_is_named_like_a_secret_is_kept_as_one(self) -> None:
        account = self.account()
        for name in self.plugin.model_fields:
            if SECRET_NAME.search(name):
                assert not isinstance(getattr(account, name), str), (
                    f"{name} is a plain text: make it SecretStr or Secrets"
                )

    @pytest.mark.parametrize(
        "show",
        [repr, str, lambda one: f"{one!r:>5}", lambda one: str(list(one))],
        ids=["repr", "str", "format", "fields"],
    )
    def test_no_secret_is_shown_when_the_account_is_printed(self, show: Any) -> None:
        if secrets := self.secrets():
            shown = show(self.account())
            assert not [one for one in secrets if one in shown], "a secret is in the account's text"

    def test_no_secret_is_in_the_accounts_json(self) -> None:
        account = self.account()
        shown = account.model_dump_json() + str(account.model_dump(mode="json"))
        assert not [one for one in self.secrets() if one in shown], "a secret is in the account's JSON"

    def test_no_refusal_of_settings_shows_a_secret(self) -> None:
        secrets = self.secrets()
        for name in {*self.own_fields(), *self.settings, "no_such_setting"}:
            for wrong in (["x", 5, "y", None], {"a": object}, -1, ""):
                told = self.refusal(**{name: wrong})
                assert not [one for one in secrets if one in told], f"the refusal of {name} shows a secret"

    def test_a_wrong_secret_is_refused_without_being_shown(self) -> None:
        for name in self.plugin.model_fields:
            if SECRET_NAME.search(name):
                for wrong in (f"{UNLIKELY} ✗\n", [UNLIKELY, 5], [UNLIKELY] * 3, {"value": UNLIKELY, "no": 1}):
                    assert UNLIKELY not in self.refusal(**{name: wrong}), f"the refusal of {name} shows what was given"

    # Accounts

    def test_two_accounts_with_the_same_settings_are_two(self) -> None:
        one, other = self.account("one"), self.account("other")
        assert one != other
        assert len({one, other}) == 2, "accounts need identity equality: do not define __eq__"
        assert (one.account, other.account) == ("one", "other")

    def test_two_accounts_share_no_list_or_table(self) -> None:
        one, other = self.account(), self.account()
        for name in self.plugin.model_fields:
            held = getattr(one, name)
            if isinstance(held, list | dict | set) and name not in self.settings:
                assert held is not getattr(other, name), f"{name} is shared between accounts"

    def test_the_account_routes_what_the_plugin_performs(self) -> None:
        for action in self.plugin.performs():
            assert hasattr(action, "kind"), f"@performs({action!r}) is no action"
        assert self.account().route(NoAction()) is None, "route must answer None for what the account cannot do"

    def test_handlers_say_honestly_how_long_an_attempt_may_take(self) -> None:
        for _, facts in self.plugin._table.values():  # noqa: SLF001 - the contract looks behind the door
            assert 0 < facts.get("deadline", 30) <= 300, "a deadline is seconds, at most 300"

    # The module

    def test_the_module_names_its_api_reference(self) -> None:
        text = source.module_of(self.plugin).__doc__ or ""
        assert source.ADDRESS.search(text), "the module's docstring holds no address of the API reference"

    def test_the_plugin_has_a_title(self) -> None:
        assert self.plugin.title or (self.plugin.__doc__ or "").strip(), "give the class a title or a docstring"

    def test_the_module_registers_the_plugin(self) -> None:
        module = source.module_of(self.plugin)
        offered = [one for kind in self.kinds for one in classes(module, kind)]
        assert self.plugin in offered, f"no register_<plural> of {', '.join(self.kinds)} returns {self.plugin.__name__}"

    def test_the_plugin_prints_and_logs_nothing(self) -> None:
        self.never(PRINTS, "the bridge logs, masked; a plugin raises or returns")

    def test_the_plugin_does_not_wait(self) -> None:
        self.never(SLEEPS, "the bridge waits, in its tables; raise Unavailable(retry_after=…)")

    def test_no_call_in_an_async_method_blocks_the_others(self) -> None:
        found = [
            f"{name}:{one}"
            for name, tree in source.trees(self.plugin).items()
            for one in source.blocking(tree, BLOCKS, FILES)
        ]
        assert not found, f"every other account waits for this; use asyncio.to_thread: {', '.join(found)}"

    def test_the_plugin_does_not_repeat(self) -> None:
        self.never(REPEATS, "only the bridge knows whether a repeat does harm")

    def test_the_plugin_calls_out_by_the_lent_client_only(self) -> None:
        self.never(DIALS, "use ctx.http: it counts against the account's limits and notes what has left")

    def test_the_plugin_asks_no_clock_but_the_lent_one(self) -> None:
        self.never(CLOCKS, "use ctx.now(), view.now, or the now that verify is given")

    def test_the_plugin_swallows_no_failure(self) -> None:
        found = [
            f"{name}:{line}" for name, tree in source.trees(self.plugin).items() for line in source.swallowed(tree)
        ]
        assert not found, f"catch what you can mend, and name it: {', '.join(found)}"

    def test_the_plugin_imports_only_what_plugins_may(self) -> None:
        taken = {one for tree in source.trees(self.plugin).values() for one in source.imported(tree)}
        foreign = sorted(one for one in taken if not self.allowed.fullmatch(one))
        assert not foreign, f"these are the bridge's own and may change: {', '.join(foreign)}"

    def never(self, forbidden: re.Pattern[str], why: str) -> None:
        """Fail where the plugin's source uses a forbidden name."""
        found = source.used(self.plugin, forbidden)
        assert not found, f"{', '.join(found)}: {why}"


class NoAction:
    """An action that no plugin knows."""

    kind = "no.such.action"


def secrets_in(value: Any) -> Iterator[str]:
    """Every secret text inside a setting's value."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from secrets_in(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from secrets_in(one)


def named_secrets(settings: Mapping[str, Any]) -> Iterator[str]:
    """The texts of settings that are named like a secret."""
    for name, value in settings.items():
        if SECRET_NAME.search(name) and isinstance(value, str):
            yield value
