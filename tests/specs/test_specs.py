"""What the plugins send is what their vendors' own descriptions take."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import httpx
import pytest
from asking import requests_of
from descriptions import TABLE, Described
from reading import aliyun, graphql, openapi, swagger

ROWS = [pytest.param(one, id=one.plugin, marks=pytest.mark.evidence(one.plugin, "accepted")) for one in TABLE]


@pytest.mark.filterwarnings("ignore:Unsupported scheme type")  # who may call is not what is looked at
@pytest.mark.parametrize("described", ROWS)
def test_every_request_is_one_that_the_vendor_describes(described: Described) -> None:
    check = described.check()
    results = [(one, check(one)) for one in requests_of(described.plugin)]
    held = [(one, wrong) for one, wrong in results if wrong is not None]
    assert held, "no request of the plugin's contract belongs to this description"
    found = {f"{one.method} {one.url.path}: {why}" for one, wrong in held for why in wrong}
    assert not found, "\n".join(sorted(found))


# The harness

PARCELS = """
openapi: 3.0.3
info: {title: Parcels, version: "1"}
servers: [{url: "https://api.example"}]
paths:
  /parcels/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: string, pattern: "^P"}}]
    get: {parameters: [{name: lang, in: query, schema: {type: string, enum: [de, zh]}}], responses: {}}
    post:
      requestBody:
        required: true
        content:
          application/json:
            schema: {type: object, required: [to], properties: {to: {type: string}, size: {type: integer}}}
      responses: {}
"""
SCHEMA = "type Query { parcel(id: ID!): Parcel }\ntype Parcel { id: ID! to: String }"
GRAPHQL = "https://api.example/admin/api/2026-10/graphql.json"


def ask(method: str, url: str, **more: object) -> httpx.Request:
    return httpx.Request(method, f"https://api.example{url}", **more)


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (ask("GET", "/parcels/P1?lang=zh"), ""),
        (ask("POST", "/parcels/P1", json={"to": "北京", "size": 3}), ""),
        (ask("POST", "/parcels/P1", json={"to": "北京", "gift": True}), ""),
        (ask("GET", "/parcel/P1"), "parcel"),
        (ask("DELETE", "/parcels/P1"), "delete"),
        (ask("GET", "/parcels/X1"), "does not match"),
        (ask("GET", "/parcels/P1?lang=fr"), "is not one of"),
        (ask("GET", "/parcels/P1?long=zh"), "long is not described"),
        (ask("POST", "/parcels/P1", json={"size": 3}), "'to' is a required property"),
        (ask("POST", "/parcels/P1", json={"to": "北京", "size": "3"}), "is not of type"),
        (ask("POST", "/parcels/P1", json={"to": "北京", "sise": 3}), "'sise' was unexpected"),
        (ask("POST", "/parcels/P1", data={"to": "x"}), "x-www-form-urlencoded"),
    ],
)
def test_what_an_openapi_description_does_not_take_is_told(tmp_path: Path, request_: httpx.Request, why: str) -> None:
    (tmp_path / "parcels.yml").write_text(PARCELS, encoding="utf-8")
    found = openapi(tmp_path / "parcels.yml", frozenset({"gift"}))(request_)
    assert found == [] if not why else (len(found) == 1 and why in found[0].replace("DELETE", "delete")), found


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (ask("GET", "/parcels/P1?lang=zh,de"), ""),
        (ask("POST", "/parcels/P1", json={"to": "北京"}), ""),
        (ask("GET", "/parcels/P1?lang=fr"), "is not one of"),
        (ask("GET", "/parcels/P1?long=zh"), "long is not described"),
        (ask("POST", "/parcels/P1", json={"to": 5}), "is not of type"),
        (ask("POST", "/parcels/P1", json={"of": "北京"}), "'of' was unexpected"),
    ],
)
def test_what_a_swagger_description_does_not_take_is_told(tmp_path: Path, request_: httpx.Request, why: str) -> None:
    lang = {"name": "lang", "in": "query", "type": "array", "items": {"type": "string", "enum": ["de", "zh"]}}
    body = {"name": "body", "in": "body", "required": True, "schema": {"$ref": "#/definitions/Parcel"}}
    number = {"name": "id", "in": "path", "required": True, "type": "string"}
    operations = {"parameters": [number], "get": {"parameters": [lang]}, "post": {"parameters": [body]}}
    for one in ("get", "post"):
        operations[one]["responses"] = {}
    parcel = {"type": "object", "properties": {"to": {"type": "string"}}}
    told = {"swagger": "2.0", "info": {"title": "Parcels", "version": "1"}, "host": "api.example", "basePath": "/"}
    told |= {"paths": {"/parcels/{id}": operations}, "definitions": {"Parcel": parcel}}
    (tmp_path / "parcels.json").write_text(json.dumps(told), encoding="utf-8")
    found = swagger(tmp_path / "parcels.json", frozenset())(request_)
    assert found == [] if not why else any(why in one for one in found), found


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("query A($id: ID!) { parcel(id: $id) { id to } }", ""),
        ("query A($id: ID!) { parcel(id: $id) { id from } }", "Cannot query field 'from'"),
        ("query A($id: ID!, $of: ID!) { parcel(id: $id) { id } parcel(id: $of) { id } }", "'$of'"),
    ],
)
def test_what_a_graphql_description_does_not_take_is_told(tmp_path: Path, query: str, why: str) -> None:
    library = pytest.importorskip("graphql")
    told = library.introspection_from_schema(library.build_schema(SCHEMA))
    (tmp_path / "admin_2026-10.json.gz").write_bytes(gzip.compress(json.dumps({"data": told}).encode()))
    check = graphql(tmp_path / "admin_2026-10.json.gz", frozenset())
    found = check(httpx.Request("POST", GRAPHQL, json={"query": query, "variables": {"id": "P1"}}))
    assert found == [] if not why else any(why in one for one in found), found
    assert check(httpx.Request("POST", "https://api.example/oauth", json={})) is None
    older = GRAPHQL.replace("2026-10", "2025-01")
    assert "the description is of 2026-10" in check(httpx.Request("POST", older, json={"query": "{ __typename }"}))


CLIENT = """
class Client:
    def send_sms_with_options(self, request, runtime):
        query = {}
        query['SignName'] = request.sign_name
        params = Params(action = 'SendSms', version = '2017-05-25', pathname = '/', method = 'POST')
"""


@pytest.mark.parametrize(
    ("action", "query", "why"),
    [
        ("SendSms", "SignName=x", []),
        ("SendSms", "Sign=x", ["the parameter Sign is not described"]),
        ("Send", "SignName=x", ["Send is no action"]),
    ],
)
def test_what_a_generated_client_does_not_send_is_told(tmp_path: Path, action: str, query: str, why: list[str]) -> None:
    (tmp_path / "client.py").write_text(CLIENT, encoding="utf-8")
    headers = {"x-acs-action": action, "x-acs-version": "2017-05-25"}
    assert aliyun(tmp_path / "client.py", frozenset())(ask("POST", f"/?{query}", headers=headers)) == why


def test_a_description_that_is_not_there_is_skipped_and_the_reason_says_where_it_is_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RMABRIDGE_SPECS", str(tmp_path))
    row = Described("acme", ("acme/api.yml",), "npm package @acme/api", openapi)
    with pytest.raises(pytest.skip.Exception, match="npm package @acme/api"):
        row.check()
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "api.yml").write_text(PARCELS, encoding="utf-8")
    assert row.check()(ask("GET", "/parcels/P1")) == []
