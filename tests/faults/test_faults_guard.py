"""Every bundled plugin that has a simulator has its fault tests."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from rmabridge.testing.simulators.library import simulator, simulators

HERE = Path(__file__).parent
# To be tried whatever else comes: a plugin that is not named here may still be without fault tests.
TRIED = frozenset(
    {
        "aliyun_sms",
        "chatwoot",
        "dingtalk",
        "douyin",
        "easypost",
        "http",
        "kdniao",
        "kuaidi100",
        "request_tracker",
        "seventeentrack",
        "sf_express",
        "shopify",
        "smtp",
        "taobao",
        "twilio",
        "ups",
        "wecom_robot",
        "woocommerce",
        "zammad",
        "zendesk",
    }
)


def played() -> dict[str, str]:
    """Bundled plugin → name of its simulator."""
    made = {name: simulator(name) for name, origin in simulators().items() if origin == "rmabridge"}
    bundled = {one.name for one in entry_points(group="rmabridge")}
    return {plugin: name for name, one in made.items() if (plugin := one.plugin or one.name) in bundled}


def test_every_bundled_plugin_with_a_simulator_is_tried_under_every_fault() -> None:
    files = {path.stem.removeprefix("test_faults_") for path in HERE.glob("test_faults_*.py")}
    tried = {plugin for plugin, name in played().items() if {plugin, name} & files}
    assert tried >= TRIED, f"write tests/faults/test_faults_<name>.py for {sorted(TRIED - tried)}"


def test_every_file_of_fault_tests_goes_through_all_faults() -> None:
    for path in HERE.glob("test_faults_*.py"):
        if path != Path(__file__):
            text = path.read_text(encoding="utf-8")
            assert '"fault", DOORS)' in text or '"fault", HOOKS)' in text, path.name
            assert ("hears(" in text) is ('"fault", HOOKS)' in text), path.name
