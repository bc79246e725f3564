"""How descriptions are read: OpenAPI, Swagger, GraphQL's introspection, and Alibaba Cloud's generated clients."""

from __future__ import annotations

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

# How jsonschema tells of a field that is not described.
UNNAMED: Final = re.compile(r"'([^']+)'(?=.* unexpected\)$)")
# Formats of a vendor's own; which values are parameters is asked of the library, which wants to know them all.
FORMATS: Final = re.compile(r'"format": "([^"]+)"')
METHODS: Final = frozenset({"get", "put", "post", "delete", "patch"})
# Says what is wrong with a request; says nothing where all is well, None where it is none of the description's.
Check = Callable[[httpx.Request], list[str] | None]


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


# Alibaba Cloud


def aliyun(path: Path, _: frozenset[str]) -> Check:
    """The client that Alibaba Cloud generates from its own description, read and not run: RPC style calls."""
    known: dict[str, tuple[dict[str, Any], set[str]]] = {}
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.FunctionDef) and node.name.endswith("_with_options"):
            facts, fields = _operation(node)
            known[facts.get("action", "")] = facts, fields

    def check(request: httpx.Request) -> list[str]:
        asked = {"action": request.headers.get("x-acs-action", ""), "version": request.headers.get("x-acs-version")}
        asked |= {"method": request.method, "pathname": request.url.path}
        if asked["action"] not in known:
            return [f"{asked['action']} is no action"]
        facts, fields = known[asked["action"]]
        wrong = [f"{name} is {value}, not {facts[name]}" for name, value in asked.items() if value != facts[name]]
        return wrong + [f"the parameter {one} is not described" for one in request.url.params if one not in fields]

    return check


def _operation(function: ast.FunctionDef) -> tuple[dict[str, Any], set[str]]:
    """What a generated method says of its call, and the names of the parameters that it can send."""
    facts, fields = {}, set()
    for node in ast.walk(function):
        if isinstance(node, ast.keyword) and node.arg and isinstance(node.value, ast.Constant):
            facts[node.arg] = node.value.value
        elif (
            isinstance(node, ast.Subscript)
            and ast.unparse(node.value) == "query"
            and isinstance(node.slice, ast.Constant)
        ):
            fields.add(node.slice.value)
    return facts, fields
