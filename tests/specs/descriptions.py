"""Vendors' own descriptions of their interfaces, and the requests of our plugins held against them.

A description is never kept in this repository. It is looked for, in this order, in the folders that
``RMABRIDGE_SPECS`` names, in ``../shared/specs`` beside the repository, in ``.venv/specs`` (where npm packages may be
unpacked), and among the installed Python packages. What is not there is skipped, and the reason says where it is
published.

The next vendor is one line of ``TABLE``: the plugin, the file, where it is published, and how it is read. Which
requests a plugin makes is taken from its contract classes: every call, lookup, fetch and probe that they list.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

ROOT: Final = Path(__file__).parents[2]
# How jsonschema tells of a field that is not described.
UNNAMED: Final = re.compile(r"'([^']+)'(?=.* unexpected\)$)")
# Formats of a vendor's own; which values are parameters is asked of the library, which wants to know them all.
FORMATS: Final = re.compile(r'"format": "([^"]+)"')
METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
# Says what is wrong with a request; says nothing where all is well, None where it is none of the description's.
Check = Callable[[httpx.Request], list[str] | None]


@dataclass(frozen=True)
class Described:
    """A plugin whose vendor describes what it takes."""

    plugin: str
    files: tuple[str, ...]
    published: str
    read: Callable[[Path, frozenset[str]], Check]
    # What the vendor takes beside what it describes; whatever else is not described is taken for a slip of ours.
    beyond: frozenset[str] = frozenset()

    def check(self) -> Check:
        """The descriptions, read; skips the test where one is not there."""
        checks = [self.read(self._found(one), self.beyond) for one in self.files]

        def check(request: httpx.Request) -> list[str] | None:
            held = [wrong for one in checks if (wrong := one(request)) is not None]
            # Of several descriptions the one that knows the path speaks.
            return min(held, key=lambda wrong: (any("not found" in why for why in wrong), len(wrong)), default=None)

        return check

    def _found(self, file: str) -> Path:
        for folder in folders():
            if (path := folder / file).is_file():
                return path
        pytest.skip(f"{file} is in none of {', '.join(map(str, folders()))}; it is published as {self.published}")


def folders() -> list[Path]:
    """Where descriptions may lie."""
    named = [Path(one) for one in os.environ.get("RMABRIDGE_SPECS", "").split(os.pathsep) if one]
    installed = importlib.util.find_spec("httpx")
    packages = [Path(installed.origin).parents[1]] if installed and installed.origin else []
    return [*named, ROOT.parent / "shared" / "specs", ROOT / ".venv" / "specs", *packages]


# OpenAPI


def openapi(path: Path, beyond: frozenset[str]) -> Check:
    """A description in OpenAPI 3; parameters and fields that it does not name are wrong, too."""
    pytest.importorskip("openapi_core", reason="openapi-core is not installed")
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return _checked(yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), beyond)


def swagger(path: Path, beyond: frozenset[str]) -> Check:
    """A description in Swagger 2, as JSON; of bodies those in JSON."""
    pytest.importorskip("openapi_core", reason="openapi-core is not installed")
    held = json.loads(path.read_bytes().replace(b"#/definitions/", b"#/components/schemas/"))
    for where in held["paths"].values():
        for one in [where, *(each for name, each in where.items() if name in METHODS)]:
            _newer(one, held.get("parameters", {}))
    server = f"https://{held['host']}{held.get('basePath', '').rstrip('/')}"
    newer = {"openapi": "3.0.3", "info": held["info"], "servers": [{"url": server}], "paths": held["paths"]}
    return _checked(newer | {"components": {"schemas": held.get("definitions", {})}}, beyond)


def _newer(operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Write parameters and body as OpenAPI 3 does."""
    given = [shared.get(one.get("$ref", "").rpartition("/")[2], one) for one in operation.pop("parameters", ())]
    kept = {"name", "in", "required"}
    plain = [one for one in given if one["in"] != "body"]
    operation["parameters"] = [
        {name: one[name] for name in kept & set(one)}
        | {"schema": {name: value for name, value in one.items() if name not in {*kept, "collectionFormat"}}}
        | ({"explode": False} if one.get("type") == "array" and one.get("collectionFormat") != "multi" else {})
        for one in plain
    ]
    for one in given:
        if one["in"] == "body":
            content = {"application/json": {"schema": one["schema"]}}
            operation["requestBody"] = {"required": one.get("required", False), "content": content}


def _checked(held: dict[str, Any], beyond: frozenset[str]) -> Check:
    import openapi_core as core

    # Vendors' descriptions have faults of their own, which are not ours to find.
    config = core.Config(
        spec_validator_cls=None,
        additional_properties_default_policy="forbid",
        extra_format_unmarshallers=dict.fromkeys(FORMATS.findall(json.dumps(held, default=str)), str),
    )
    api = core.OpenAPI.from_dict(held, config=config)

    def check(request: httpx.Request) -> list[str]:
        result = api.unmarshal_request(_as_seen(request))
        found = [one for error in result.errors for one in reasons(error, beyond)]
        if not result.errors:
            named = {*result.parameters.query, *beyond}
            found += [f"the parameter {one} is not described" for one in request.url.params if one not in named]
        return found

    return check


def _as_seen(request: httpx.Request) -> Any:
    from openapi_core.testing import MockRequest

    return MockRequest(
        f"{request.url.scheme}://{request.url.netloc.decode()}",
        request.method.lower(),
        request.url.path,
        args=dict(request.url.params.multi_items()),
        headers=dict(request.headers),
        data=request.content,
        content_type=request.headers.get("Content-Type", "").partition(";")[0],
    )


def reasons(error: BaseException, beyond: frozenset[str]) -> Iterator[str]:
    """Why a request is wrong; nothing where all that is wrong is what the vendor takes beyond its description."""
    schema = getattr(error, "schema_errors", None)
    if schema is None:
        yield from reasons(error.__cause__, beyond) if error.__cause__ else [str(error)]
        return
    for one in schema:
        unnamed = UNNAMED.findall(one.message)
        if not unnamed or set(unnamed) - beyond:
            yield f"{one.json_path}: {one.message}"


# GraphQL


def graphql(path: Path, _: frozenset[str]) -> Check:
    """A description as the answer to GraphQL's introspection query."""
    library = pytest.importorskip("graphql", reason="graphql-core is not installed")
    from graphql.execution.values import get_variable_values

    held = json.loads(gzip.decompress(path.read_bytes()))
    schema = library.build_client_schema(held.get("data", held), assume_valid=True)

    def check(request: httpx.Request) -> list[str] | None:
        if not request.url.path.endswith("/graphql.json"):
            return None
        asked = json.loads(request.content)
        document = library.parse(asked["query"])
        (operation,) = [one for one in document.definitions if one.kind == "operation_definition"]
        given = get_variable_values(schema, operation.variable_definitions or [], asked.get("variables") or {})
        wrong = [*library.validate(schema, document), *(given if isinstance(given, list) else ())]
        version = path.name.removeprefix("admin_").partition(".")[0]
        other = [] if f"/{version}/" in request.url.path else [f"the description is of {version}"]
        return [one.message for one in wrong] + other

    return check


TABLE: Final = (
    Described(
        "amazon",
        ("amazon/ordersV0.json", "amazon/messaging.json"),
        "github.com/amzn/selling-partner-api-models",
        swagger,
    ),
    Described(
        "chatwoot",
        ("chatwoot/chatwoot-application-api-openapi.yml",),
        "swagger of github.com/chatwoot/chatwoot",
        openapi,
        # Read by Chatwoot's builders of contacts and messages; the last is a custom attribute, which are free.
        beyond=frozenset({"source_id", "private", "rma_id"}),
    ),
    Described("shopify", ("shopify-dev-mcp/dist/data/admin_2026-10.json.gz",), "npm package @shopify/dev-mcp", graphql),
    Described("twilio", ("twilio/twilio_api_v2010.yaml",), "github.com/twilio/twilio-oai", openapi),
    Described(
        "ups",
        ("ups/Tracking.yaml", "ups/UPSTrackAlert.yaml", "ups/OAuthClientCredentials.yaml"),
        "github.com/UPS-API/api-documentation",
        openapi,
    ),
)
