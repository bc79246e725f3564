"""``rmabridge policy show``: the active rules in words, as JSON, and as a flow chart that Mermaid can read."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from cli_desk import Desk, config, desk, run, write
from hypothesis import given
from hypothesis import strategies as st

from rmabridge.abilities import RuleText
from rmabridge.core.charts import mermaid
from worlds import a_return, ago, document

__all__ = ["config", "desk"]

ID = r"[A-Za-z][A-Za-z0-9_]*"
QUOTED = r'"(?:[^"#<>&\x00-\x1f]|#(?:quot|35|lt|gt|amp);)*"'
GRAMMAR = [
    re.compile(rf"^  subgraph {ID}\[{QUOTED}\]$"),
    re.compile(rf"^    ({ID})(?:\[{QUOTED}\]|\[\[{QUOTED}\]\]|\{{{QUOTED}\}})$"),
    re.compile(r"^  end$"),
    re.compile(rf"^  ({ID}) -->(?:\|{QUOTED}\|)? ({ID})$"),
    re.compile(rf"^  class {ID}(?:,{ID})* (?:deadline|own)$"),
    re.compile(r"^  classDef (?:deadline|own) [a-z-]+:#?[\w-]+(?:,[a-z-]+:#?[\w-]+)*$"),
]


def check(chart: str) -> set[str]:
    """The boxes of a chart; fails on a line that is not of the flow chart's grammar, or an arrow to nowhere."""
    first, *lines = chart.rstrip("\n").split("\n")
    assert first == "flowchart TD"
    boxes: set[str] = set()
    depth = 0
    for line in lines:
        kinds = [number for number, one in enumerate(GRAMMAR) if one.match(line)]
        assert kinds, f"not Mermaid: {line!r}"
        depth += (kinds[0] == 0) - (kinds[0] == 2)
        assert depth in (0, 1)
        if kinds[0] == 1:
            boxes.add(GRAMMAR[1].match(line)[1])  # type: ignore[index]
    assert depth == 0
    for line in lines:
        if arrow := GRAMMAR[3].match(line):
            assert set(arrow.groups()) <= boxes
    reserved = {"end", "graph", "flowchart", "subgraph", "class", "click", "style"}
    assert not boxes & reserved
    return boxes


texts = st.text(max_size=40)


@given(
    st.dictionaries(
        texts,
        st.lists(
            st.builds(
                RuleText,
                id=texts,
                text=texts,
                source=st.sampled_from(["default", "set"]),
                deadline=st.booleans(),
            ),
            max_size=4,
            unique_by=lambda one: one.id,
        ),
        max_size=3,
    ),
    texts,
)
def test_any_words_make_a_chart_that_mermaid_can_read(groups: dict[str, list[RuleText]], label: str) -> None:
    linked = {
        name: [
            RuleText(one.id, one.text, one.source, ((label, rules[0].id), ("", one.id)), one.deadline) for one in rules
        ]
        for name, rules in groups.items()
    }
    assert len(check(mermaid(linked))) == sum(map(len, linked.values()))


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    """A configuration with every policy that is installed."""
    doc = document(tmp_path, "http://127.0.0.1:9/")
    names = [one.name for one in entry_points(group="rmabridge") if "/policies/" in str(_file(one.module))]
    doc["bridge"]["policies"] = names
    doc["shops"]["one"] |= {"return_window": "P14D", "refund_limit": "300 CNY"}
    doc["policies"] = {"plays": {"matrix": {"low": {"low": "normal"}}}}
    return write(tmp_path / "rmabridge.toml", doc)


def _file(module: str) -> str:
    from importlib.util import find_spec

    spec = find_spec(module)
    return str(spec.origin) if spec else ""


def told(path: Path, *arguments: str) -> list[dict[str, Any]]:
    """The rules as JSON."""
    result = run(path, "policy", "show", *arguments, json_=True)
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["rules"]
    return found


@pytest.mark.row("S105")
@pytest.mark.parametrize("locale", ["en", "zh-CN", "zh-TW"])
def test_the_active_rules_are_a_text_table_and_a_mermaid_chart(everything: Path, locale: str) -> None:
    rows = told(everything, "--locale", locale)
    chart = run(everything, "policy", "show", "--mermaid", "--locale", locale).stdout
    assert len(check(chart)) == len(rows)
    table = run(everything, "policy", "show", "returns", "--locale", locale).stdout
    assert all(one["id"] in table for one in rows if one["policy"] == "returns")
    assert "14" in table
    assert re.search(r"class [\w,]*returns_window[\w,]* deadline", chart), "deadlines are marked"


def test_every_policy_has_rules_with_ids_that_are_its_own(everything: Path) -> None:
    rows = told(everything)
    assert len({one["policy"] for one in rows}) > 10
    for policy in {one["policy"] for one in rows}:
        ids = [one["id"] for one in rows if one["policy"] == policy]
        assert len(ids) == len(set(ids))
    assert all(one["text"] and one["id"] for one in rows)


def test_what_the_shop_set_is_told_from_what_is_shipped(everything: Path) -> None:
    source = {one["id"]: one["source"] for one in told(everything)}
    assert source["returns.window"] == source["returns.limit"] == source["plays.matrix.low.low"] == "set"
    assert source["returns.close"] == source["plays.matrix.high.high"] == "default"


def test_an_overridden_matrix_shows_its_own_priority(everything: Path) -> None:
    texts = {one["id"]: one["text"] for one in told(everything, "plays")}
    assert texts["plays.matrix.low.low"].endswith("normal")


def test_an_unknown_policy_or_shop_is_told(config: Path) -> None:
    result = run(config, "policy", "show", "nope")
    assert (result.exit_code, "nope: no such policy" in result.stderr) == (4, True)
    result = run(config, "policy", "show", "--shop", "nope")
    assert (result.exit_code, "nope: no such shop" in result.stderr) == (4, True)


@pytest.mark.row("S104")
@pytest.mark.parametrize(
    ("locale", "delivered", "words"),
    [
        ("en", 7, ("30 days of delivery", "inside", "working days")),
        ("en", 40, ("30 days of delivery", "outside", "working days")),
        ("zh-CN", 7, ("30 天内申请", "在期限内", "到账时间")),
        ("zh-TW", 40, ("30 天內申請", "已逾期", "入帳時間")),
    ],
)
async def test_the_return_rules_are_explained_for_a_given_order_in_its_language(
    desk: Desk, locale: str, delivered: int, words: tuple[str, ...]
) -> None:
    body = a_return()
    body["data"]["order_doc"]["delivered_at"] = ago(days=delivered)
    assert (await desk.world.post(body))[0] == 200
    await desk.world.settle()
    case = await desk.case()
    rows = (await desk.answer("policy", "show", "returns", "--case", case, "--locale", locale))["rules"]
    text = "\n".join(one["text"] for one in rows)
    assert all(one in text for one in words)
    until = datetime.now(UTC) + timedelta(days=30 - delivered)
    assert str(until.year) in text
    assert {"returns.request", "returns.window", "returns.agreement", "returns.limit", "returns.pay"} <= {
        one["id"] for one in rows
    }
