"""The demo: it tells its stories to the end, and fails when the books differ."""

from __future__ import annotations

import copy
import json
import os
import re
import select
import signal
import string
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rmabridge.cli.demo import demo
from rmabridge.config import read
from rmabridge.registry import build
from rmabridge.testing.demo import closing, ledgers, people, play, settings
from rmabridge.testing.demo.processes import Failed
from rmabridge.testing.demo.scan import scan
from rmabridge.testing.demo.words import LANGUAGES, language_of, words
from rmabridge.testing.demo.world import PORTS

PLACES = dict(zip(PORTS, range(20001, 20001 + len(PORTS)), strict=True))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rmabridge", "demo", *arguments]


def living(mark: Path) -> dict[int, str]:
    """Processes that name this directory in their command line, or work in it: pid → command line."""
    found = {}
    for one in Path("/proc").glob("[0-9]*"):
        try:
            line, cwd = (one / "cmdline").read_bytes().decode(errors="replace"), str((one / "cwd").readlink())
        except OSError:
            continue
        if int(one.name) != os.getpid() and (str(mark) in line or cwd.startswith(str(mark))):
            found[int(one.name)] = line
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The JSON of one finished demo, with the directory that it kept."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    done = subprocess.run(
        command("--once", "--json", "--lang", "en", "--keep", str(folder)),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout), "stderr": done.stderr, "folder": folder}


@pytest.mark.slow
def test_the_demo_ends_well_and_its_table_is_complete(told: dict[str, Any]) -> None:
    assert told["ok"] is True
    assert told["reason"] is None
    assert told["first_story_seconds"] > 0
    shown = sorted((one["shop"], one["issue"], one["level"], one["state"]) for one in told["cases"])
    assert shown == [
        ("corner", "damaged_in_transit", 2, "requested"),
        ("outdoor", "quality_defect", 1, "closed"),
        ("outdoor", "return_request", 1, "closed"),
        ("overseas", "lost_parcel", 1, "requested"),
        ("studio", "product_question", 1, "new"),
        ("teahouse", "damaged_in_transit", 2, "requested"),
        ("teahouse", "wrong_item", 1, "closed"),
    ]
    for one in told["cases"][:2]:
        assert set(one) == {
            "id",
            "shop",
            "issue",
            "level",
            "state",
            "ticket",
            "messages",
            "deliveries",
            "first_reply_ms",
        }
        assert one["ticket"]
        assert one["messages"] == 5
        assert one["first_reply_ms"] > 0
    assert "kill -9" in told["stderr"]
    assert "401" in told["stderr"]
    assert "413" in told["stderr"]


@pytest.mark.slow
@pytest.mark.row("P52")
def test_an_agents_reply_reaches_the_buyer_once_and_comes_back_to_no_ticket(told: dict[str, Any]) -> None:
    for order in ("1001", "1002"):
        books = told["compared"]["books"][order]
        assert books["answers"] == 1
        assert len(books["ticket"]) == 1
        assert books == {**told["compared"]["bridge"][order]}


def of_shop(told: dict[str, Any], issue: str) -> dict[str, Any]:
    """What the servers' books say of the only case of the Taobao shop with this issue."""
    (at,) = [one for one in told["cases"] if one["shop"] == "teahouse" and one["issue"] == issue]
    kept = [one for one in told["compared"]["books"].values() if one.get("thread") == at["messages"]]
    (found,) = [one for one in kept if bool(one["refunds"]) == (issue == "wrong_item")]
    return {**found, "reply_ms": at["first_reply_ms"]}


@pytest.mark.slow
def test_damage_on_taobao_ends_in_one_dossier_at_the_carriers_desk(told: dict[str, Any]) -> None:
    books = of_shop(told, "damaged_in_transit")
    assert (books["dossiers"], books["tracked"], books["refunds"]) == (1, [people.YU["order"]["waybill"]], [])
    assert books["reply_ms"] > 0
    for said in ("of 400 bytes", "is level 2", "Kdniao pushes 414", ".pdf, claim-", "liable: carrier"):
        assert said in told["stderr"]


@pytest.mark.slow
def test_a_silent_insured_parcel_is_claimed_once_and_its_buyer_gets_one_text_message(told: dict[str, Any]) -> None:
    books = told["compared"]["books"][people.KETTLE["number"]]
    assert (len(books["claims"]), books["texts"], books["mails"]) == (1, 1, 0)
    assert "its answer never comes; calls so far: 1" in told["stderr"]
    assert "calls that filed one: 1" in told["stderr"]


@pytest.mark.slow
def test_a_wrong_item_is_paid_once_and_only_after_a_person_said_so(told: dict[str, Any]) -> None:
    books = of_shop(told, "wrong_item")
    assert [one[1:] for one in books["refunds"]] == [["500.01", "CNY"]]
    for said in (
        "that was all three",
        "500.01 CNY is held",
        "rmabridge approvals approve",
        "once; a second approval was refused",
    ):
        assert said in told["stderr"]
    assert told["compared"]["books"]["staff"]["told"] > 0


@pytest.mark.slow
def test_five_quick_lines_get_one_answer_and_then_a_holding_reply(told: dict[str, Any]) -> None:
    (chat,) = [one for key, one in told["compared"]["books"].items() if key.startswith("chat ")]
    assert (chat["chat"], len(chat["ticket"])) == (2, 1)
    assert "then the answer, times 1" in told["stderr"]


@pytest.mark.slow
@pytest.mark.row("P35")
def test_the_databases_files_hold_no_clear_personal_data(told: dict[str, Any]) -> None:
    assert told["scan"]["found"] == []
    assert told["scan"]["looked_for"] == len(people.secrets())
    kept = told["folder"] / "bridge.db"
    assert kept.read_bytes().startswith(b"SQLite format 3")
    every = b"".join(one.read_bytes() for one in told["folder"].glob("bridge.*"))
    assert not [one for one in people.secrets() if one.encode() in every]


@pytest.mark.slow
def test_nothing_is_left_running(told: dict[str, Any]) -> None:
    assert living(told["folder"]) == {}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_stops_everything(tmp_path: Path, how: signal.Signals) -> None:
    folder = tmp_path / "kept"
    with subprocess.Popen(command("--keep", str(folder), "--lang", "en"), stdout=subprocess.PIPE, text=True) as running:
        try:
            for line in running.stdout or ():
                if "All answer" in line:
                    break
            assert len(living(folder)) >= 13
            running.send_signal(how)
            running.communicate(timeout=60)
        finally:
            running.kill()
    assert running.returncode == 130
    assert living(folder) == {}


@pytest.mark.slow
def test_a_demo_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    with subprocess.Popen(command("--keep", str(folder), "--lang", "en"), stdout=subprocess.PIPE, text=True) as running:
        try:
            next(line for line in running.stdout or () if "All answer" in line)
            children = living(folder).keys() - {running.pid}
            assert len(children) >= 12
            ends = [os.pidfd_open(pid) for pid in children]
        finally:
            running.kill()
    for end in ends:
        assert select.select([end], [], [], 30)[0], "a process outlives the demo"
        os.close(end)


def test_the_configuration_is_one_that_the_bridge_takes() -> None:
    registry = build(read(tomllib.loads(settings.document(PLACES))))
    assert set(registry.accounts) == {
        *("shopify", "zendesk", "kdniao", "mail", "ownshop", "integrator", "taobao", "group"),
        *("warehouse", "easypost", "sms", "chatwoot"),
    }
    assert len(registry.policies) == 20
    assert registry.shops["corner"].forwards == ("integrator",)


def test_the_relay_is_ten_lines() -> None:
    relay = settings.TEXT.partition("[marketplaces.ownshop]")[2].partition("[services.integrator]")[0]
    assert len([one for one in relay.splitlines() if one.strip()]) <= 10


def sheet() -> closing.Sheet:
    """What both sides say after a demo that went well."""
    one = {"ticket": ["35000"], "solved": True, "comments": 8, "mails": 5, "answers": 1, "approved": 1}
    made = {
        each.number: {
            **ledgers.empty(),
            **one,
            "tracked": [each.waybill],
            "refunds": [["5001", each.price, each.currency]],
        }
        for each in people.BUYERS
    }
    made[people.KETTLE["number"]] = ledgers.empty() | {"claims": ["clm_1"], "texts": 1}
    made["2101"] = ledgers.empty() | {"thread": 4, "dossiers": 1}
    made["2103"] = ledgers.empty() | {"thread": 5, "refunds": [["98", "500.01", "CNY"]]}
    made["chat 33"] = ledgers.empty() | {"ticket": ["33"], "chat": 2}
    return copy.deepcopy(made)


def test_books_that_agree_have_no_differences() -> None:
    assert closing.differences(sheet(), sheet() | {"?": {"mails": 0, "refunds": 0}}) == []
    assert closing.unexpected(sheet()) == []


@pytest.mark.parametrize(
    ("case", "what", "planted"),
    [
        ("1001", "mails", 6),
        ("1001", "ticket", []),
        ("1001", "refunds", [["5001", "299.00", "CNY"], ["5002", "299.00", "CNY"]]),
        ("1001", "solved", False),
        ("2101", "dossiers", 2),
        ("2101", "thread", 3),
        ("2103", "refunds", []),
        ("9901", "claims", ["clm_1", "clm_2"]),
        ("9901", "texts", 0),
        ("chat 33", "chat", 3),
    ],
)
def test_a_planted_difference_is_found(case: str, what: str, planted: Any) -> None:
    books = sheet()
    books[case][what] = planted
    found = closing.differences(sheet(), books)
    assert len(found) == 1
    assert f"{case} {what}" in found[0]


@pytest.mark.parametrize(
    ("case", "what", "planted", "said"),
    [
        ("9901", "claims", ["clm_1", "clm_2"], "9901 claims: 2, not 1"),
        ("9901", "texts", 2, "9901 texts: 2, not 1"),
        ("2101", "dossiers", 0, "taobao dossiers: 0, not 1"),
        ("2103", "refunds", [["98", "500.01", "CNY"]] * 2, "taobao refunds: [['500.01', 'CNY'], ['500.01', 'CNY']]"),
        ("chat 33", "chat", 1, "chat 33 chat: 1, not 2"),
    ],
)
def test_a_second_claim_message_or_payment_is_wrong_even_if_both_sides_agree_on_it(
    case: str, what: str, planted: Any, said: str
) -> None:
    both = sheet()
    both[case][what] = planted
    assert closing.differences(both, both) == []
    (found,) = closing.unexpected(both)
    assert found.startswith(said)


def test_words_longer_than_a_thread_takes_are_found() -> None:
    said = [{"owner_role": "2", "content": "好" * 133}, {"owner_role": "2", "content": "好" * 134}]
    assert ledgers.too_long({"taobao": {"messages": {"98": said}}}) == ["402 bytes"]


def test_what_waits_for_its_approval_is_in_order_and_what_is_held_without_one_is_not() -> None:
    ledger = [{"id": 7, "case": "C1", "key": "return:decide:1", "state": "held", "cause": None}]
    assert closing.unfinished(ledger, {7}) == []
    assert closing.unfinished(ledger, {8}) == ["C1 return:decide:1 is held: "]


def test_a_dossier_without_one_of_its_papers_is_none() -> None:
    mail = {"to": [people.DESK], "subject": "SF7", "files": [{"type": "application/pdf"}]}
    assert ledgers.dossiers({"mail": {"mails": [mail]}}) == []
    whole = mail | {"files": [*mail["files"], {"type": "application/json"}]}
    assert ledgers.dossiers({"mail": {"mails": [whole]}}) == [whole]


def test_what_belongs_to_no_order_is_a_difference() -> None:
    assert closing.differences(sheet(), sheet() | {"?": {"mails": 1}}) == [
        "? mails: the bridge says 0, the servers say 1"
    ]


def test_a_second_answer_is_wrong_even_if_both_sides_agree_on_it() -> None:
    both = sheet()
    both["1002"]["answers"] = 2
    assert closing.differences(both, both) == []
    assert closing.unexpected(both) == ["1002 answers: 2, not 1"]


def test_a_delivery_that_did_not_end_well_is_told() -> None:
    ledger = [{"case": "C1", "key": "reply:first:1", "state": state, "cause": "no"} for state in ("done", "uncertain")]
    assert closing.unfinished(ledger) == ["C1 reply:first:1 is uncertain: no"]


def test_the_search_finds_a_planted_phone_number(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_bytes(b"C123\x00" + people.LEI.phone.encode())
    (tmp_path / "bridge.db-wal").write_bytes(people.EMMA.email.encode())
    found = scan(tmp_path, people.secrets(), ["C123"])
    assert found.found == [f"{people.LEI.phone[-10:]} in bridge.db", f"{people.EMMA.email} in bridge.db-wal"]


def test_a_search_that_sees_nothing_fails(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_bytes(b"")
    with pytest.raises(Failed, match="blind"):
        scan(tmp_path, people.secrets(), ["C123"])


def test_both_languages_say_the_same_things() -> None:
    english, chinese = (words(one) for one in LANGUAGES)
    assert set(english) == set(chinese)
    for key, text in english.items():
        assert _fields(text) == _fields(chinese[key]), key
    assert any("一" <= letter <= "鿿" for letter in "".join(chinese.values()))


def test_every_word_is_said_and_every_key_is_known() -> None:
    source = "".join(one.read_text("utf-8") for one in sorted(Path(play.__file__).parent.glob("*.py")))
    said = set(re.findall(r'"([a-z_]+)"', source)) | set(re.findall(r'"(column_)\{', source))
    known = set(words("en"))
    told = set(re.findall(r'(?:tell|say|story|warn|_story)\((?:show, )?\s*"([a-z_]+)"', source))
    assert told <= known
    assert {one for one in known if not one.startswith("column_")} <= said


def _fields(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_the_language_is_the_locales() -> None:
    assert language_of({"LANG": "zh_CN.UTF-8"}) == "zh"
    assert language_of({"LANG": "zh_CN.UTF-8", "LC_ALL": "de_DE"}) == "en"
    assert language_of({}) == "en"


@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_mail_server_one_line_says_what_to_install(
    language: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(play, "find_spec", lambda name: None)
    assert play.play(language, None, once=True, as_json=False) == 1
    said = capsys.readouterr().out
    assert "pip install 'rmabridge[testing]'" in said
    assert said.count("\n") == 1


def test_a_directory_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bridge.db").write_bytes(b"old")
    done = CliRunner().invoke(demo, ["--once", "--keep", str(tmp_path)])
    assert done.exit_code == 2
    assert "not empty" in done.output


def test_a_simulator_runs_as_a_process_of_its_own_and_ends_with_its_parent() -> None:
    started = [sys.executable, "-m", "rmabridge.testing.simulators", "mail", "--json", '{"user": "u"}', "--with-parent"]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdin
        told = json.loads(running.stdout.readline())
        assert told["url"].startswith("http://127.0.0.1:")
        assert told["smtp_port"] > 0
        running.stdin.close()
        running.wait(20)
    assert running.returncode == 0
