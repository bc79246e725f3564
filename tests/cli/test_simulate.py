"""``rmabridge simulate``: a vendor on this machine, its faults, and what the command tells of it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rmabridge.cli import main
from rmabridge.cli.simulate import account_of
from rmabridge.config import read
from rmabridge.registry import build
from rmabridge.testing.simulators import library
from rmabridge.testing.simulators.faults import KINDS
from rmabridge.testing.simulators.sink import Sink
from worlds import document

OURS = ("aliyun_sms", "chatwoot", "easypost", "kdniao", "mail", "shopify", "sink", "taobao", "wecom_robot", "zendesk")


@contextmanager
def simulating(*arguments: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """The command as a process of its own, and what it told in JSON."""
    started = [sys.executable, "-m", "rmabridge", "simulate", *arguments, "--json"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        try:
            yield json.loads(running.stdout.readline()), running
        finally:
            running.send_signal(signal.SIGINT)
            running.wait(20)
            running.communicate()


def asked(url: str, body: Any = None, method: str = "POST") -> tuple[int, str]:
    """Status and text of an answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and all that was said."""
    result = CliRunner().invoke(main, ["simulate", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_it_serves_with_its_faults_until_it_is_told_to_end() -> None:
    hook = "http://127.0.0.1:9/hooks/shop"
    with simulating("kdniao", "--fault", "500:2", "--fault", "429", "--hook", hook) as (told, running):
        assert told["section"] == "carriers.kdniao"
        assert told["account"] == {
            "plugin": "kdniao", "url": told["url"], "allow_private": True, "app_key": "key", "business_id": "1234567",
        }  # fmt: skip
        assert told["do"]["ship"] == ["waybill", "shippers", 'phone_tail=""']
        assert told["faults"] == [{"name": "500", "times": 2}, {"name": "429", "times": 1}]
        door = f"{told['url']}/api/dist"
        assert [asked(door, {})[0] for _ in range(4)] == [500, 500, 429, 200]
        assert asked(f"{told['url']}/_do/ship", {"waybill": "YT1", "shippers": "YTO"})[0] == 200
        assert asked(f"{told['url']}/_fault", {"name": "no such"})[0] == 400
        assert asked(f"{told['url']}/_fault", {"name": "wrong-content", "times": 0})[0] == 200
        assert "It works!" in asked(door, {})[1]
        assert '"on": []' in asked(f"{told['url']}/_fault", method="DELETE")[1]
    assert running.returncode == 0


def test_people_read_the_address_the_account_and_what_they_can_make_happen() -> None:
    started = [sys.executable, "-m", "rmabridge", "simulate", "easypost", "--fault", "slow:0"]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        lines: list[str] = []
        while not lines or not lines[-1].startswith("Faults:"):
            lines.append(running.stdout.readline())
        running.send_signal(signal.SIGTERM)
        running.wait(20)
    said = "".join(lines)
    assert lines[0].startswith("easypost at http://127.0.0.1:")
    account = tomllib.loads(said.partition("\n\n[")[2].join(("[", "")).partition("\n\n")[0])
    assert account["carriers"]["easypost"]["api_key"] == "EZTK"
    assert 'claim_decision(decision, claim=null, amount=null, reason="")' in said
    assert "on now: slow (for ever)" in said


def test_the_list_names_every_simulator_and_every_fault() -> None:
    code, said = run("--list", "--json")
    names = [one["name"] for one in json.loads(said)]
    assert code == 0
    assert {*OURS, *KINDS} <= set(names)
    assert not {"server", "faults", "proxy", "library", "posting", "shopify_doors"} & set(names)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "name a VENDOR"),
        (["nobody"], 4, "nobody: no such simulator; there are"),
        (["../kdniao"], 4, "no such simulator"),
        (["kdniao", "--fault", "gremlins"], 2, "'gremlins' is not a fault; there are slow, reset"),
        (["kdniao", "--fault", "500:many"], 2, "is not NAME or NAME:TIMES"),
        (["kdniao", "--port", "70000"], 2, "--port"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(arguments: list[str], code: int, words: str) -> None:
    exit_code, said = run(*arguments)
    assert (exit_code, said.count("\n")) == (code, 1)
    assert words in said


def test_a_port_that_is_taken_is_told_in_a_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = run("kdniao", "--port", str(taken.getsockname()[1]))
    assert (code, said.count("\n")) == (4, 1)


async def test_the_lines_it_prints_make_an_account_of_each_simulator(tmp_path: Path, sink: Sink) -> None:
    for name in OURS:
        async with library.simulator(name)() as made:
            kind, settings = account_of(made)
            config = document(tmp_path, sink.url)
            config.setdefault(kind, {})[name] = settings
            assert build(read(config)).accounts[name].plugin == (made.plugin or name)


def test_a_plugin_package_brings_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "acme_for_rmabridge.py"
    package.write_text(
        "from rmabridge.testing.simulators.server import Simulator\n"
        "class AcmeSim(Simulator):\n    name = 'acme'\n"
        "class Other(Simulator):\n    name = 'other'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    entries = [
        EntryPoint("acme", "acme_for_rmabridge:AcmeSim", library.GROUP),
        EntryPoint("many", "acme_for_rmabridge", library.GROUP),
        EntryPoint("gone", "not_installed_at_all", library.GROUP),
    ]
    monkeypatch.setattr(library, "entry_points", lambda group: entries)
    assert library.simulator("acme").name == "acme"
    assert {"acme", "kdniao"} <= set(library.simulators())
    for name, words in (("many", "is no simulator"), ("gone", "No module named"), ("nobody", "no such simulator")):
        with pytest.raises(library.NoSimulator, match=words):
            library.simulator(name)


SHOPS_OWN = """
from rmabridge.testing.simulators.server import Simulator
from not_there import Missing

class KdniaoSim(Simulator):
    name = "kdniao"
"""


def test_a_plugin_of_one_file_has_its_simulator_beside_it(tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["new", "carrier", "parcelpost", "--dir", str(tmp_path)]).exit_code == 0
    config = tmp_path / "rmabridge.toml"
    config.write_text(f'[bridge]\nplugins_dir = "{tmp_path}"\n[carriers.parcelpost]\napi_key = "k"\nsecret = "s"\n')
    code, said = run("--list", "--json", "--config", str(config))
    assert code == 0
    assert {"name": "parcelpost", "what": f"simulator ({tmp_path}/simulator_parcelpost.py)"} in json.loads(said)
    with simulating("parcelpost", "--config", str(config)) as (told, _):
        assert (told["section"], told["account"]["api_key"]) == ("carriers.parcelpost", "key-of-a-test")
        assert asked(f"{told['url']}/_books", method="GET")[0] == 200


@pytest.mark.parametrize(
    ("text", "words"),
    [(SHOPS_OWN, "No module named 'not_there'"), ("a b", "invalid syntax"), ("", "is no simulator")],
)
def test_a_shops_own_simulator_goes_before_a_shipped_one_and_what_ails_it_is_told(
    text: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "simulator_kdniao.py").write_text(text)
    assert library.simulators(tmp_path)["kdniao"] == str(tmp_path / "simulator_kdniao.py")
    with pytest.raises(library.NoSimulator, match=words):
        library.simulator("kdniao", tmp_path)


def test_of_a_plugin_that_nobody_knows_only_the_address_is_told() -> None:
    class Unheard(Sink):
        plugin = "unheard_of"

    kind, settings = account_of(Unheard())
    assert (kind, settings) == ("marketplaces", {"plugin": "unheard_of", "url": "", "allow_private": True})
