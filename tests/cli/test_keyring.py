"""Secrets from a keyring: read when the configuration is, shown nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from cli_desk import run, write
from keyring.backend import KeyringBackend

from rmabridge.config import load
from rmabridge.registry import build
from worlds import document


class Drawer(KeyringBackend):
    """A keyring in memory."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()
        self.kept = {("rmabridge", "desk"): "keyr1ng-s3cret", ("lone", ""): "lone-s3cret"}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


@pytest.fixture(autouse=True)
def drawer() -> Iterator[None]:
    """This keyring and no other."""
    before = keyring.get_keyring()
    keyring.set_keyring(Drawer())
    yield
    keyring.set_keyring(before)


def configured(tmp_path: Path, name: str) -> Path:
    doc = document(tmp_path, "http://127.0.0.1:9/")
    doc["helpdesks"]["desk"]["bearer"] = {"keyring": name}
    return write(tmp_path / "rmabridge.toml", doc)


@pytest.mark.row("P34")
@pytest.mark.parametrize(("name", "secret"), [("rmabridge/desk", "keyr1ng-s3cret"), ("lone", "lone-s3cret")])
def test_a_secret_of_the_keyring_is_used_and_never_printed(tmp_path: Path, name: str, secret: str) -> None:
    path = configured(tmp_path, name)
    desk = build(load(path)).accounts["desk"]
    assert desk.bearer.get_secret_value() == secret
    assert secret not in repr(desk)
    for as_json in (True, False):
        result = run(path, "config", "show", json_=as_json)
        assert (result.exit_code, secret in result.output) == (0, False)
        assert f"*** (keyring {name})" in result.output


@pytest.mark.row("P34")
def test_what_the_keyring_does_not_have_is_told_with_its_place(tmp_path: Path) -> None:
    result = run(configured(tmp_path, "rmabridge/nobody"), "check", "--offline")
    assert result.exit_code != 0
    told = " ".join(result.output.split())
    assert "[helpdesks.desk] bearer: the keyring has nothing for 'rmabridge' and user 'nobody'" in told
