"""Each check of settings, secrets and source finds its planted fault, and no other check does."""

import pytest
from test_contract import Toy, planted

SETTINGS = Toy(
    contract="Contract",
    plugin='''"""Toy: takes what happens.

Reference: https://toy.example/api
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr, field_serializer, field_validator, model_validator

from rmabridge import hookimpl
from rmabridge.abilities import Context, Forwards, Handler, Plugin, Result, performs
from rmabridge.model import Forward

SHARED: dict[str, str] = {}


class Toy(Plugin, Forwards):
    """One toy."""

    title: ClassVar[str] = "Toy"

    token: SecretStr = Field(description="sent with every call")
    size: int = Field(1, description="how much of it")
    names: dict[str, str] = Field(default_factory=dict, description="its names for things")
    url: str = Field("https://api.toy.example", description="address of the API")

    # more

    async def forward(self, action: Forward, ctx: Context) -> Result:
        """Hand it on."""
        response = await ctx.http.post(self.url, content=action.body)
        response.raise_for_status()
        return Result()


@hookimpl
def register_services() -> list[type[Plugin]]:
    """What this module offers."""
    return [Toy]
''',
    tests="""
class TestToy(Contract):
    plugin = Toy
    settings = {"token": "token-of-a-test"}
""",
)
MORE, POST = "    # more\n", "        response.raise_for_status()\n"

FAULTS = {
    "test_an_unknown_setting_is_refused_by_its_name": [(MORE, '    model_config = {"extra": "ignore"}\n')],
    "test_every_setting_has_a_description": [('Field(1, description="how much of it")', "Field(1)")],
    "test_a_missing_setting_is_named": [
        (
            MORE,
            """    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given):
        if "token" not in given:
            raise ValueError("something is missing")
        return given
""",
        )
    ],
    "test_every_address_can_be_set": [
        (
            MORE,
            """    @field_validator("url")
    @classmethod
    def _ours(cls, given):
        return cls.model_fields["url"].default
""",
        )
    ],
    "test_no_address_is_written_into_the_code": [("post(self.url", 'post("https://api.toy.example/x"')],
    "test_the_rate_of_calls_can_be_read": [(MORE, '    rate: str | None = Field("fast", description="calls")\n')],
    "test_what_is_named_like_a_secret_is_kept_as_one": [(MORE, '    api_key: str = Field("", description="a key")\n')],
    "test_no_secret_is_shown_when_the_account_is_printed": [
        (MORE, '    def __repr__(self):\n        return f"Toy({self.token.get_secret_value()})"\n')
    ],
    "test_no_secret_is_in_the_accounts_json": [
        (
            MORE,
            '    @field_serializer("token")\n    def _written(self, one):\n        return one.get_secret_value()\n',
        )
    ],
    "test_no_refusal_of_settings_shows_a_secret": [
        (
            MORE,
            """    @model_validator(mode="after")
    def _sized(self):
        if self.size < 0:
            raise ValueError(f"too small for {self.token.get_secret_value()}")
        return self
""",
        )
    ],
    "test_a_wrong_secret_is_refused_without_being_shown": [
        (
            MORE,
            """    @field_validator("token", mode="before")
    @classmethod
    def _plain(cls, given):
        if isinstance(given, str) and not given.isascii():
            raise ValueError(f"{given} is no token")
        return given
""",
        )
    ],
    "test_two_accounts_with_the_same_settings_are_two": [
        (MORE, "    def __eq__(self, other):\n        return True\n\n    def __hash__(self):\n        return 1\n")
    ],
    "test_two_accounts_share_no_list_or_table": [("default_factory=dict", "default_factory=lambda: SHARED")],
    "test_the_account_routes_what_the_plugin_performs": [
        (MORE, "    def route(self, action):\n        return Handler(self.forward)\n")
    ],
    "test_handlers_say_honestly_how_long_an_attempt_may_take": [
        ("    async def forward", "    @performs(deadline=900)\n    async def forward")
    ],
    "test_the_module_names_its_api_reference": [("Reference: https://toy.example/api", "")],
    "test_the_plugin_has_a_title": [('"""One toy."""', ""), ('    title: ClassVar[str] = "Toy"\n', "")],
    "test_the_module_registers_the_plugin": [("return [Toy]", "return []")],
    "test_the_plugin_prints_and_logs_nothing": [
        ("import asyncio\n", "import asyncio\nfrom logging import getLogger as quiet\n")
    ],
    "test_the_plugin_does_not_wait": [
        ("import asyncio\n", "from asyncio import sleep as rest\n"),
        (POST, POST + "        await rest(0)\n"),
    ],
    "test_no_call_in_an_async_method_blocks_the_others": [
        (POST, POST + '        Path("words.txt").read_text(encoding="utf-8")\n')
    ],
    "test_the_plugin_does_not_repeat": [("import asyncio\n", "import tenacity\n")],
    "test_the_plugin_calls_out_by_the_lent_client_only": [
        ("import asyncio\n", "from urllib.request import urlopen as fetch\n")
    ],
    "test_the_plugin_asks_no_clock_but_the_lent_one": [(POST, POST + "        datetime.now()\n")],
    "test_the_plugin_swallows_no_failure": [
        (
            POST,
            """        try:
            response.raise_for_status()
        except Exception:
            return Result()
""",
        )
    ],
    "test_the_plugin_imports_only_what_plugins_may": [
        ("from rmabridge.model", "from rmabridge import flow\nfrom rmabridge.model")
    ],
}


PLANTED = [(SETTINGS, FAULTS)]


@pytest.mark.row("P30")
@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_fails_its_check_and_no_other(check, tmp_path):
    assert planted(SETTINGS, FAULTS[check], tmp_path) == {check}
