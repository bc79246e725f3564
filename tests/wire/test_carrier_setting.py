"""The shop's own lists of carriers, named in the configuration, are read when the bridge starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rmabridge.config import read
from rmabridge.errors import ConfigError
from rmabridge.registry import build
from rmabridge.wire import carriers
from worlds import document


@pytest.fixture(autouse=True)
def _shipped() -> Iterator[None]:
    yield
    carriers.replace(None)


def _configured(tmp_path: Path, **lists: str) -> dict[str, Any]:
    return document(tmp_path, "http://127.0.0.1:9", carrier_lists=lists)


def test_a_list_in_the_configuration_is_used(tmp_path: Path) -> None:
    path = tmp_path / "17track.csv"
    path.write_text("key,_name,_name_zh-cn\n999001,Northern Sledge Post,北方雪橇邮政\n", encoding="utf-8")
    before = len(list(carriers.everyone()))
    build(read(_configured(tmp_path, seventeentrack=str(path))))
    assert len(list(carriers.everyone())) == before + 1


def test_a_list_that_is_not_there_stops_the_start_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"carrier_lists: .*nowhere\.csv"):
        build(read(_configured(tmp_path, kdniao=str(tmp_path / "nowhere.csv"))))


def test_a_vendor_whose_lists_are_not_known_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"carrier_lists: .*pigeon"):
        build(read(_configured(tmp_path, pigeon=str(tmp_path / "x.csv"))))
