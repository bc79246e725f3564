"""``rmabridge carriers``."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmabridge.cli import CONFIG, OK, USAGE, main
from rmabridge.wire import carriers


@pytest.fixture(autouse=True)
def shipped() -> Iterator[None]:
    """The shipped list comes back afterwards."""
    yield
    carriers.replace(None)


def run(*words: str, code: int = OK) -> str:
    done = CliRunner().invoke(main, ["carriers", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_the_whole_list_is_told_with_every_vendors_codes() -> None:
    told = json.loads(run("list", "--json"))
    assert len(told) == carriers.count()
    assert next(one for one in told if one["code"] == "SF")["kuaidi100"] == "shunfeng"


def test_the_list_is_narrowed_to_a_country_and_to_a_vendor() -> None:
    assert "PostNord Sweden" in run("list", "--country", "se")
    assert all(one["shopify"] for one in json.loads(run("list", "--of", "shopify", "--json")))
    assert "there are kdniao" in run("list", "--of", "nobody", code=USAGE)


def test_a_carrier_is_found_by_a_part_of_its_name() -> None:
    assert [one["code"] for one in json.loads(run("find", "圆通", "--limit", "2", "--json"))] == ["YTO", "YTOGJ"]
    assert "no carrier is listed as pigeons" in run("find", "pigeons")


def test_a_number_is_recognised_with_the_reason_and_whether_it_is_proved() -> None:
    (best,) = json.loads(run("recognise", "1z 999aa10123456784", "--json"))
    assert (best["code"], best["proved"]) == ("UPS", True)
    assert "no carrier has numbers like XYZ" in run("recognise", "xyz")


def test_a_vendors_own_list_is_read_beside_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "apicarrier.all.json"
    path.write_text(json.dumps([{"key": 999999, "_name": "Sample Post of Nowhere"}]), "utf-8")
    (found,) = json.loads(run("--list", f"seventeentrack={path}", "find", "Sample Post", "--json"))
    assert found["seventeentrack"] == "999999"
    assert "VENDOR=FILE" in run("--list", str(path), "list", code=USAGE)
    assert "no such list" in run("--list", f"pigeons={path}", "list", code=CONFIG)


def test_the_sources_tell_which_lists_do_not_travel_with_the_bridge() -> None:
    told = json.loads(run("sources", "--json"))
    assert {one["vendor"] for one in told if not one["shipped"]} == {"kdniao", "seventeentrack"}
    assert all(one["as_of"][:2] == "20" for one in told)
