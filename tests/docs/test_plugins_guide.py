"""The author's guide says what is so: tables from the code, snippets that run, both languages alike."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import httpx
import pytest
from test_docs import FENCE, calls, check_call, generator, headings, text

from rmabridge import abilities, hookspecs
from rmabridge.abilities import Plugin, Shop
from rmabridge.errors import Rejected, Unauthorised, Unavailable
from rmabridge.flow.attempt import failed
from rmabridge.flow.client import Flight
from rmabridge.model import ACTIONS, Form, SendMessage
from rmabridge.testing.contract import Call, ChannelContract
from rmabridge.testing.contract.running import failures
from rmabridge.testing.quality import LEVELS
from rmabridge.wire import signing

PAGES = Path(__file__).resolve().parents[2] / "docs" / "plugins"
NAMES = ("index", "tutorial", "reference", "cookbook", "samples", "publishing")
ENGLISH = tuple(PAGES / f"{one}.md" for one in NAMES)
CHINESE = tuple(PAGES / f"{one}.zh-CN.md" for one in NAMES)
MARKED = re.compile(r"^<!-- (file|change): (\S+) -->\n(?=```(\w+)\n(.*?)^```$)", re.MULTILINE | re.DOTALL)
SHOWS = re.compile(r"^<!-- shows: .*? -->$", re.MULTILINE)
# Pages that a test goes through from top to bottom: test_plugins_guide_walked.py.
WALKED = ("tutorial", "samples", "publishing")
PROGRAMS = {"pip", "pytest", "curl", "export", "cd", "mv", "python"}
EACH = pytest.mark.parametrize("path", [*ENGLISH, *CHINESE], ids=lambda one: one.name)
PAIRS = pytest.mark.parametrize(("english", "chinese"), list(zip(ENGLISH, CHINESE, strict=True)), ids=NAMES)


def page(name: str) -> str:
    return text(PAGES / f"{name}.md")


def reference() -> str:
    return page("reference").replace("\\|", "|")


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    return generator()


# -- the reference -----------------------------------------------------------------------------------------------------


@EACH
def test_the_guides_tables_are_up_to_date(path, docs):
    assert text(path) == docs.generated(text(path)), "run: make docs"


def test_the_guide_has_these_pages_and_no_others():
    assert sorted(PAGES.glob("*.md")) == sorted((*ENGLISH, *CHINESE))


def test_every_hook_is_documented_with_its_signature():
    told = reference()
    for one in vars(hookspecs).values():
        if inspect.isfunction(one) and hasattr(one, "rmabridge_spec"):
            assert f"`{one.__name__}{str(inspect.signature(one)).replace(chr(39), '')}`" in told


def test_every_name_that_plugins_build_on_is_documented():
    told = reference()
    aside = {"Plugin", "Proposal", "Say", "Secrets", "Shop", "Way"}
    missing = {
        one for one in abilities.__all__ if not re.search(rf"^(### `{one}`|\| `(async )?{one}\()", told, re.MULTILINE)
    }
    assert missing == aside


def test_every_action_that_an_account_carries_out_is_documented_with_its_method():
    told = reference()
    for one in vars(abilities).values():
        for name, method in list(vars(one).items()) if inspect.isclass(one) else ():
            if action := getattr(getattr(method, "__performs__", None), "action", None):
                (row,) = [line for line in told.splitlines() if line.startswith(f"| `async {name}(")]
                assert f"`{action.kind}`" in row


def test_every_event_and_action_and_setting_is_documented():
    told = reference()
    schemas = ACTIONS.json_schema()["$defs"] | generator_events()
    kinds = {one["properties"]["type"]["const"] for one in schemas.values() if "type" in one.get("properties", {})}
    assert kinds
    assert {one for one in kinds if f"| `{one}` |" not in told} == set()
    assert {one for one in Plugin.model_fields if f"| `{one}` |" not in told} == set()


def generator_events() -> dict[str, Any]:
    from rmabridge.model import EVENTS

    found: dict[str, Any] = EVENTS.json_schema()["$defs"]
    return found


def test_the_examples_of_hooks_are_python_and_have_the_hooks_arguments():
    codes = [code for language, code in FENCE.findall(page("reference")) if language == "python"]
    functions = [one for code in codes for one in ast.parse(code).body if isinstance(one, ast.FunctionDef)]
    assert len(functions) == 10
    for one in functions:
        wanted = list(inspect.signature(getattr(hookspecs, one.name)).parameters)
        assert [each.arg for each in one.args.args if each.arg != "self"] == wanted


# -- both languages ----------------------------------------------------------------------------------------------------


@PAIRS
def test_both_languages_show_the_same_code_at_the_same_places(english, chinese):
    assert FENCE.findall(text(english)) == FENCE.findall(text(chinese))
    for marks in (MARKED, SHOWS):
        assert marks.findall(text(english)) == marks.findall(text(chinese))


@PAIRS
def test_both_languages_have_the_same_sections_and_tables(english, chinese):
    assert headings(english) == headings(chinese)
    assert text(english).count("\n| ") == text(chinese).count("\n| ")


@pytest.mark.parametrize("path", CHINESE, ids=lambda one: one.name)
def test_the_chinese_edition_is_chinese(path):
    prose = re.sub(r"<!-- generated.*?<!-- end -->|`[^`]*`", "", FENCE.sub("", text(path)), flags=re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    written = [one for one in titles if re.search(r"[\u4e00-\u9fff]", one)]
    assert set(titles) - set(written) <= {"Standard Webhooks"}
    assert len(re.findall(r"[\u4e00-\u9fff]", prose)) > len(re.findall(r"[A-Za-z]+", prose))


# -- commands and links ------------------------------------------------------------------------------------------------


@EACH
def test_commands_that_authors_are_told_to_type_exist(path):
    for call in calls(path):
        program, *arguments = shlex.split(call)
        if program == "rmabridge":
            check_call(call, arguments)
        else:
            assert program in PROGRAMS | {"make"}, call


@EACH
def test_the_guides_links_lead_somewhere(path):
    for target, _, anchor in (one.partition("#") for one in re.findall(r"\]\(([^)]+)\)", FENCE.sub("", text(path)))):
        if "://" in target:
            continue
        there = path.parent / target if target else path
        assert there.exists(), target
        titles = re.findall(r"^#+ (.*)$", FENCE.sub("", text(there)), re.MULTILINE)
        known = {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in titles}
        assert not anchor or anchor in known, f"{target}#{anchor}"


# -- snippets ----------------------------------------------------------------------------------------------------------


def test_no_snippet_is_without_a_test():
    for path in ENGLISH:
        marked = {code for _, _, _, code in MARKED.findall(text(path))}
        for language, code in FENCE.findall(text(path)):
            walked = path.stem in WALKED and (language == "console" or code in marked)
            alone = language == "python" and (path.stem in {"reference", "index"} or code not in marked)
            assert walked or alone, f"{path.name}: nobody runs\n{code}"


def programs() -> list[Any]:
    """The snippets that are programs of their own."""
    found = []
    for path in ENGLISH:
        marked = {code for _, _, _, code in MARKED.findall(text(path))}
        codes = [code for language, code in FENCE.findall(text(path)) if language == "python" and code not in marked]
        found += [pytest.param(one, id=f"{path.stem}-{number}") for number, one in enumerate(codes, 1)]
    return [one for one in found if not str(one.id).startswith("reference-")]


@pytest.mark.parametrize("code", programs())
def test_a_snippet_runs_and_what_it_asserts_is_so(code):
    exec(compile(code, "snippet", "exec", dont_inherit=True), {"__name__": "snippet"})


def test_the_cookbook_shows_every_function_of_the_signing_families():
    code = "".join(one for _, one in FENCE.findall(page("cookbook")))
    own = {name for name, one in vars(signing).items() if getattr(one, "__module__", "") == signing.__name__}
    shown = {name for name in own if not name.startswith("_") and re.search(rf"\b{name}\(", code)}
    assert {name for name in own if not name.startswith("_")} - shown <= {"same"}
    assert "`same`" in page("cookbook")


@pytest.fixture
def pigeon(tmp_path, monkeypatch) -> ModuleType:
    """The plugin of the concept page."""
    ((_, name, _, code),) = MARKED.findall(page("index"))
    (tmp_path / name).write_text(code, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("rmabridge_pigeon", tmp_path / name)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "rmabridge_pigeon", module)
    spec.loader.exec_module(module)
    return module


def test_the_plugin_of_the_concept_keeps_the_contract_of_channels(pigeon):
    class TestPigeon(ChannelContract):
        plugin = pigeon.Pigeon
        settings: ClassVar[dict[str, str]] = {"token": "token-of-a-test"}

        def calls(self):
            words = SendMessage(purpose="p", form=Form.CHAT, to="loft-7", text="hello")
            return [Call("send", words, ({"flight": "f-1"},))]

    assert failures(TestPigeon()) == {}


# -- what the concept claims -------------------------------------------------------------------------------------------


def status(code: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "https://vendor.example")
    return httpx.HTTPStatusError("", request=request, response=httpx.Response(code, request=request))


@pytest.mark.parametrize(
    ("error", "sent", "repeatable", "end"),
    [
        *((status(code), True, False, "retry") for code in (408, 425, 429)),
        (Unavailable("x"), True, False, "retry"),
        *((status(code), True, False, "unauthorised") for code in (401, 403)),
        (Unauthorised("x"), True, False, "unauthorised"),
        *((status(code), True, False, "dead") for code in (400, 404, 409, 422)),
        (Rejected("x"), True, True, "dead"),
        (status(503), True, True, "retry"),
        (status(503), True, False, "uncertain"),
        (ValueError("x"), True, False, "uncertain"),
        (ValueError("x"), True, True, "retry"),
        (status(302), True, False, "uncertain"),
        (status(302), True, True, "dead"),
        (httpx.ConnectError("x"), False, False, "retry"),
        (TimeoutError(), True, False, "uncertain"),
        (TimeoutError(), True, True, "retry"),
        (KeyError("x"), False, False, "dead"),
    ],
)
def test_a_call_ends_as_the_concept_says(error, sent, repeatable, end):
    assert failed(error, Flight(sent=sent), repeatable=repeatable).kind == end


def test_the_kinds_of_the_concept_are_those_of_the_code():
    section = page("index").split("\n## Kinds\n")[1].split("\n## ")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    assert [re.findall(r"`(\w+)`", row[1]) for row in rows] == [
        [one] for one in vars(hookspecs) if one.startswith("register_")
    ]
    slots = {one for row in rows[:-1] for one in re.findall(r"`(\w+)`", row[2])}
    assert slots <= set(Shop.model_fields)
    assert {one for row in rows[:-1] for one in re.findall(r"`(\w+)`", row[3])} <= set(abilities.__all__)


def test_the_quality_levels_of_the_guide_are_those_of_the_code():
    section = page("publishing").split("\n## Quality levels\n")[1].split("\n## ")[0]
    assert tuple(re.findall(r"^\| (\w+) \|", section, re.MULTILINE)[1:]) == LEVELS
