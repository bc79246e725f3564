"""`rmabridge new`: for every kind a plugin that is whole, green and clean from the first minute."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from rmabridge.cli.new import SECTIONS, new
from rmabridge.cli.new_files import planned
from rmabridge.config import DEFAULT_POLICIES, Config, load
from rmabridge.registry import build

KINDS = list(SECTIONS)
RATHER = {"carrier": "sf_express", "policy": "two_eyes"}
# A test run that reaches for anything but this machine fails.
OFFLINE = """
import sys


def stay(event, arguments):
    if event in {"socket.connect", "socket.getaddrinfo"}:
        where = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = where[0] if isinstance(where, tuple) else where
        if isinstance(where, tuple) or event == "socket.getaddrinfo":
            assert host in {None, "127.0.0.1", "localhost"}, f"{event} {host}"


sys.addaudithook(stay)
"""


def run(*args: str):
    return CliRunner().invoke(new, list(args))


def python(folder, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], cwd=folder, capture_output=True, text=True, check=False)


def files(folder) -> list[str]:
    return sorted(str(one.relative_to(folder)) for one in folder.rglob("*") if one.is_file())


def green(folder) -> int:
    """How many tests passed, all of them, and nobody was asked outside of this machine."""
    (folder / "conftest.py").write_text(OFFLINE, encoding="utf-8")
    done = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr
    (passed,) = re.findall(r"^(\d+) passed in", done.stdout, re.MULTILINE)
    return int(passed)


@pytest.mark.row("P29")
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_green_at_once(kind, tmp_path):
    name = RATHER.get(kind, "acme")
    told = run(kind, name, "--dir", str(tmp_path / "plugins"))
    assert told.exit_code == 0, told.output
    assert f"[{SECTIONS[kind]}.{name}]" in told.output
    assert "plugins_dir" in told.output
    vendor = [] if kind == "policy" else [f"simulator_{name}.py", f"test_rmabridge_{name}_live.py"]
    wanted = [f"rmabridge_{name}.md", f"rmabridge_{name}.py", f"test_rmabridge_{name}.py", *vendor]
    assert files(tmp_path / "plugins") == sorted(wanted)
    assert green(tmp_path / "plugins") > 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_has_all_that_a_stranger_needs(kind, tmp_path):
    told = run(kind, "two_words", "--package", "--dir", str(tmp_path))
    assert told.exit_code == 0, told.output
    vendor = [] if kind == "policy" else ["src/simulator_two_words.py", "tests/test_rmabridge_two_words_live.py"]
    wanted = ["README.md", "docs/two_words.md", "pyproject.toml", "src/rmabridge_two_words.py"]
    top = tmp_path / "rmabridge-two-words"
    assert files(top) == sorted([*wanted, "tests/test_rmabridge_two_words.py", *vendor])
    project = tomllib.loads((top / "pyproject.toml").read_text(encoding="utf-8"))
    simulated = {} if kind == "policy" else {"rmabridge.simulators": {"two_words": "simulator_two_words:TwoWordsSim"}}
    assert project["project"]["entry-points"] == {"rmabridge": {"two_words": "rmabridge_two_words"}, **simulated}
    assert project["project"]["dependencies"] == ["rmabridge"]
    # The README's configuration makes an account, and its links lead somewhere.
    readme = (top / "README.md").read_text(encoding="utf-8")
    assert SECTIONS[kind] in tomllib.loads(readme.partition("```toml\n")[2].partition("```")[0])
    assert all((top / one).exists() for one in re.findall(r"\]\((.*?)\)", readme))


@pytest.mark.parametrize("kind", ["carrier", "policy"])
def test_the_tests_of_a_package_are_green_where_every_warning_is_an_error(kind, tmp_path):
    run(kind, "two_words", "--package", "--dir", str(tmp_path))
    assert green(tmp_path / "rmabridge-two-words") > 40


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_names_every_setting_and_what_is_not_verified(kind, tmp_path):
    run(kind, "acme", "--dir", str(tmp_path))
    page = (tmp_path / "rmabridge_acme.md").read_text(encoding="utf-8")
    code = (tmp_path / "rmabridge_acme.py").read_text(encoding="utf-8")
    for name in re.findall(r"^    (\w+): .*Field\(", code, re.MULTILINE):
        assert f"| `{name}` |" in page
    assert {"## Settings", "## What was verified, and how", "## Known limits"} < set(page.splitlines())
    assert "{" not in re.sub(r"`.*?`", "", page)


def configured(tmp_path, kind: str, settings: str) -> Config:
    """What the printed steps tell the operator to write."""
    path = tmp_path / "rmabridge.toml"
    policies = 'policies = ["routing", "acme"]' if kind == "policy" else ""
    section = f'[{SECTIONS[kind]}.acme]\nplugin = "acme"\n{settings}\n'
    path.write_text(f'[bridge]\nplugins_dir = "{tmp_path}"\n{policies}\n{section}', encoding="utf-8")
    return load(path)


SETTINGS = {
    "marketplace": 'token = "t"\nsecret = "s"',
    "helpdesk": 'token = "t"',
    "carrier": 'api_key = "k"\nsecret = "s"',
    "channel": 'api_key = "k"',
    "service": 'token = "t"',
    "policy": 'limit = "50 EUR"',
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_printed_steps_make_an_account(kind, tmp_path):
    assert run(kind, "acme", "--dir", str(tmp_path)).exit_code == 0
    try:
        made = build(configured(tmp_path, kind, SETTINGS[kind]))
    finally:
        sys.modules.pop("rmabridge_acme", None)
    names = [*made.accounts, *(one.name for one in made.policies)]
    assert "acme" in names


def test_the_policies_that_are_asked_anyway_stay_in_the_printed_list(tmp_path):
    told = run("policy", "two_eyes", "--dir", str(tmp_path)).output
    listed = ", ".join(f'"{one}"' for one in (*DEFAULT_POLICIES, "two_eyes"))
    assert f"policies = [{listed}]" in told


@pytest.mark.parametrize("kind", KINDS)
def test_new_code_is_clean_for_the_linter(kind, tmp_path):
    run(kind, "acme", "--dir", str(tmp_path))
    done = python(tmp_path, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,B,UP", "--line-length", "120", ".")
    if "No module named" in done.stderr:
        pytest.skip("ruff is not installed")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_new_carrier_is_clean_for_the_type_checker(tmp_path):
    run("carrier", "acme", "--dir", str(tmp_path))
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\nplugins = pydantic.mypy\n", encoding="utf-8")
    done = python(tmp_path, "-m", "mypy", "--follow-imports=silent", "rmabridge_acme.py", "simulator_acme.py")
    if "No module named" in done.stderr:
        pytest.skip("mypy is not installed")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["", "Acme", "sf-express", "1st", "a__b", "_a", "a_", "../x", "ümlaut", "x" * 31, "class"]
)
def test_a_bad_name_is_refused_in_one_line(name, tmp_path):
    told = run("carrier", name, "--dir", str(tmp_path / "p"))
    assert (told.exit_code, told.output.count("\n")) == (2, 1)
    assert told.output.startswith("Error: ")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("there", ["rmabridge_acme.py", "test_rmabridge_acme.py", "rmabridge_acme.md"])
def test_a_file_that_is_there_is_left_alone(there, tmp_path):
    (tmp_path / there).write_text("mine")
    told = run("carrier", "acme", "--dir", str(tmp_path))
    assert (told.exit_code, told.output.count("\n")) == (4, 1)
    assert there in told.output
    assert [one.name for one in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_an_unknown_kind_is_refused_with_the_known_ones():
    told = run("robot", "acme")
    assert told.exit_code == 2
    assert "helpdesk" in told.output


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_of_the_models_name_is_left(kind):
    for path, text in planned(kind, "two_words", Path(), package=True).items():
        assert "acme" not in text.lower(), path
        assert "twowords.example" not in text
        if path.suffix == ".py":
            assert max(map(len, text.splitlines())) <= 120


def test_the_command_imports_no_more_than_click():
    code = "import sys; import rmabridge.cli.new; print(*sorted({one.partition('.')[0] for one in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pydantic", "httpx", "aiohttp", "pytest", "pluggy", "sqlalchemy"}.intersection(done.stdout.split())


# The pytest plugin


def outcomes(tmp_path, code: str, *args: str, **environment: str) -> dict[str, int]:
    (tmp_path / "test_it.py").write_text(code, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n", encoding="utf-8")
    script = (
        "import json, os, sys, pytest\n"
        "os.environ.pop('CI', None)\n"
        f"os.environ.update(json.loads({json.dumps(json.dumps(environment))}))\n"
        "class Count:\n"
        "    found = {}\n"
        "    def pytest_runtest_logreport(self, report):\n"
        "        if report.when == 'call' or report.outcome != 'passed':\n"
        "            self.found[report.outcome] = self.found.get(report.outcome, 0) + 1\n"
        "pytest.main(['-q', '-p', 'no:cacheprovider', *sys.argv[1:]], plugins=[Count()])\n"
        "print('\\n' + json.dumps(Count.found))\n"
    )
    done = python(tmp_path, "-c", script, *args)
    return json.loads(done.stdout.splitlines()[-1])


REAL = """
import pytest
from rmabridge.testing.plugin import REAL

REAL["absent"] = lambda: "absent: install it with apt"
REAL["present"] = lambda: None

@pytest.mark.real("{name}")
def test_one():
    pass
"""


@pytest.mark.parametrize(
    ("name", "environment", "outcome"),
    [
        ("present", {}, "passed"),
        ("absent", {}, "skipped"),
        ("absent", {"CI": "true"}, "failed"),
        ("present", {"CI": "true"}, "passed"),
        ("misspelt", {}, "failed"),
    ],
)
def test_a_missing_real_server_skips_and_in_ci_fails(name, environment, outcome, tmp_path):
    assert outcomes(tmp_path, REAL.format(name=name), "--strict-markers", **environment) == {outcome: 1}


FIXTURES = """
import pytest
from datetime import timedelta

@pytest.mark.row("X1")
@pytest.mark.slow
def test_the_clock_stands_until_it_is_told(noon):
    start = noon()
    assert noon() == start
    assert noon.advance(hours=2) == start + timedelta(hours=2) == noon()

@pytest.mark.asyncio
async def test_the_context_tells_the_tests_time(bridge_context, noon):
    noon.advance(minutes=1)
    assert bridge_context.now() == noon()
    assert not bridge_context.http.is_closed
"""


def test_the_fixtures_work_where_every_warning_is_an_error(tmp_path):
    assert outcomes(tmp_path, FIXTURES, "-W", "error", "--strict-markers") == {"passed": 2}


def test_a_test_run_that_uses_nothing_of_it_loads_nothing_of_it(tmp_path):
    code = (
        "import sys\n"
        "def test_one():\n"
        "    heavy = {'pydantic', 'httpx', 'aiohttp', 'rmabridge.abilities', 'rmabridge.testing.contract'}\n"
        "    assert 'rmabridge.testing.plugin' in sys.modules\n"
        "    assert not heavy.intersection(sys.modules)\n"
    )
    # Other plugins of this machine load what they like; only ours is tried.
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    assert outcomes(tmp_path, code, "-p", "rmabridge.testing.plugin", **alone) == {"passed": 1}
