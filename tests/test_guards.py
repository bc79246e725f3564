"""What nobody may break by accident: names, directions of imports, documented hooks, published schema, clean files."""

import ast
import importlib.metadata
import inspect
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import rmabridge
from rmabridge import hookspecs, model
from rmabridge.abilities import Plugin
from rmabridge.model import Case

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "rmabridge"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
KINDS = ("marketplaces", "helpdesks", "carriers", "channels", "services", "policies")

# Each layer may import those below it and itself; what is not listed (log, __main__ …) is above them all.
LAYERS = (
    ("errors", "model"),
    ("wire",),
    ("abilities",),
    ("hookspecs",),
    ("core", "templates"),
    ("config", "loading"),
    ("registry",),
    ("store",),
    ("log",),
    ("flow",),
    ("web",),
    ("testing",),
    ("cli",),
    ("__main__",),
)
RANK = {name: number for number, names in enumerate(LAYERS) for name in names}
# Known bends, each for one line: the running bridge starts its own web server.
BENDS = {("flow/bridge.py", "web")}


def imports(path: Path) -> set[str]:
    """The absolute names of what a file imports, but for type checkers alone."""
    package = list(path.relative_to(ROOT / "src").with_suffix("").parts[:-1]) if SOURCE in path.parents else []
    found = set()
    for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {f"{module}.{one.name}" for one in node.names}
    return found


def at_run_time(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        yield from at_run_time(node)


def layer(name: str) -> str | None:
    """The layer that an imported name of the bridge belongs to."""
    parts = name.split(".")
    return parts[1] if parts[0] == "rmabridge" and len(parts) > 1 and parts[1] in RANK else None


def plugin_files() -> dict[str, list[Path]]:
    """The files of each bundled plugin, by module name."""
    found = {}
    for kind in KINDS:
        for one in sorted((ROOT / "plugins" / kind).iterdir()):
            if one.suffix == ".py":
                found[one.stem] = [one]
            elif (one / "__init__.py").exists():
                found[one.name] = sorted(one.rglob("*.py"))
    return found


PLUGINS = plugin_files()


def test_every_plugin_is_an_entry_point_and_every_entry_point_a_plugin():
    declared = PROJECT["project"]["entry-points"]["rmabridge"]
    assert set(declared.values()) == set(PLUGINS)
    assert all(value == f"rmabridge_{name}" for name, value in declared.items())


def test_every_folder_of_plugins_is_packaged():
    sources = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["sources"]
    assert set(sources) == {"src", *(f"plugins/{kind}" for kind in KINDS)}


def test_each_plugin_registers_something_of_its_folders_kind():
    for kind in KINDS:
        for one in (ROOT / "plugins" / kind).iterdir():
            path = one if one.suffix == ".py" else one / "__init__.py"
            if path.exists():
                assert f"def register_{kind}(" in path.read_text(encoding="utf-8"), path.name


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda one: str(one.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    own = path.relative_to(SOURCE).with_suffix("").parts[0]
    file = str(path.relative_to(SOURCE))
    for name in imports(path):
        there = layer(name)
        if there is None or there == own or own not in RANK or (file, there) in BENDS:
            continue
        assert RANK[there] < RANK[own], f"{file} imports {name}, which stands above it"
    if own not in {"testing", "cli"}:
        assert not [one for one in imports(path) if one.startswith("rmabridge_")]


def test_every_layer_has_a_place():
    there = {one.stem for one in SOURCE.iterdir() if one.suffix == ".py" or (one / "__init__.py").exists()}
    assert there - {"__init__"} - set(RANK) == set(), "say in LAYERS where this belongs"


@pytest.mark.parametrize("path", sorted((SOURCE / "testing" / "simulators").glob("*.py")), ids=lambda one: one.name)
def test_a_simulator_knows_nothing_of_the_bridge(path):
    # A simulator that signed with the plugin's own code would agree with its mistakes.
    outside = [one for one in imports(path) if one.startswith("rmabridge")]
    assert not [one for one in outside if not one.startswith("rmabridge.testing")]


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_plugins_import_only_what_third_parties_may(name):
    # Policies are pure, and may use the core, which is so too.
    allowed = {"model", "abilities", "wire", "errors"}
    policies = [one for one in PLUGINS[name] if "policies" in one.relative_to(ROOT).parts]
    for path in PLUGINS[name]:
        for one in imports(path):
            parts = one.split(".")
            if parts[0] != "rmabridge" or parts[1] in {*allowed, "hookimpl"}:
                continue
            assert policies, f"{path.name} imports {one}"
            assert parts[1] == "core", f"{path.name} imports {one}"


def hooks():
    return [one for one in vars(hookspecs).values() if inspect.isfunction(one) and hasattr(one, "rmabridge_spec")]


def test_every_hook_is_described_with_an_example_and_types():
    found = hooks()
    assert {one.__name__ for one in found} == {
        *(f"register_{kind}" for kind in KINDS),
        "decide",
        "amend",
        "review",
        "route",
    }
    for one in found:
        doc = inspect.getdoc(one) or ""
        assert "Example::" in doc, one.__name__
        assert f"def {one.__name__}(" in doc, f"{one.__name__}: the example shows another hook"
        signature = inspect.signature(one)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(each.annotation is not inspect.Parameter.empty for each in signature.parameters.values())


def test_an_example_takes_the_arguments_that_the_hook_is_called_with():
    for one in hooks():
        code = inspect.cleandoc((inspect.getdoc(one) or "").partition("Example::")[2])
        (example,) = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.FunctionDef)]
        assert {each.arg for each in example.args.args} - {"self"} <= set(inspect.signature(one).parameters)


def test_no_hook_is_a_coroutine():
    assert not [one.__name__ for one in hooks() if inspect.iscoroutinefunction(one)]


def test_the_version_is_the_same_everywhere():
    version = PROJECT["project"]["version"]
    assert rmabridge.__version__ == version
    assert importlib.metadata.version("rmabridge") == version
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_published_schema_is_the_cases():
    written = (ROOT / "docs" / "case.schema.json").read_text(encoding="utf-8")
    assert written == json.dumps(Case.model_json_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


# Put together from pieces, so that this file does not hold them itself.
FORBIDDEN = tuple(
    "".join(pieces)
    for pieces in (
        ("pypi", ".org"),
        ("python", "hosted"),
        ("/wo", "rk/"),
        ("/tmp/", "bash"),
        ("/ro", "ot/"),
        ("py", "env/versions"),
        ("index", "-url"),
    )
)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no working copy")
    return [ROOT / one for one in listed.stdout.split("\0") if one]


def test_no_file_names_a_package_index_or_a_place_on_this_machine():
    found = []
    for path in tracked():
        if path.is_file():
            text = path.read_bytes().decode("utf-8", "replace")
            found += [f"{path.relative_to(ROOT)}: {one}" for one in FORBIDDEN if one in text]
    assert not found


def test_no_unfinished_business_is_left_in_the_code():
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    files = [one for one in tracked() if one.suffix in {".py", ".txt", ".toml"} and one.is_file()]
    assert not [str(one.relative_to(ROOT)) for one in files if marks.search(one.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("kind", [Plugin, model.event.Base, model.acting.Base])
def test_what_many_models_inherit_is_not_annotated_by_text(kind):
    assert not [name for name, one in vars(kind)["__annotations__"].items() if isinstance(one, str)]
