"""The API's own description: the OpenAPI document, a page to read it on, and a word on what isn't here."""

from __future__ import annotations

import re
from typing import Any

from apiflask import APIFlask
from flask import Blueprint, current_app, jsonify, render_template
from flask.typing import ResponseReturnValue

from portal.api.access import TOKEN_HEADER, is_open_to_users

reference = Blueprint("reference", __name__)

_PROBLEM = {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPError"}}}
_SEVERAL = "Several workflows have this name."
_METHODS = ("get", "post", "put", "delete")
_ERRORS = {
    "400": "Something can’t be read or taken; the message says what.",
    "401": "The key or token is missing, wrong or revoked.",
    "404": "There is nothing by a name that was sent.",
    "429": "Too many calls; `Retry-After` says how long to wait.",
}


def describe_api(app: APIFlask) -> None:
    """Make the OpenAPI document say what is true of every call."""
    app.security_schemes = {
        "apiKey": {"type": "http", "scheme": "bearer", "description": "An API key: `flask api-key create NAME`."},
        "userToken": {
            "type": "apiKey",
            "in": "header",
            "name": TOKEN_HEADER,
            "description": "For browsers: GET /users/{user}/token gives one to your backend.",
        },
    }

    @app.spec_processor
    def complete(spec: dict[Any, Any] | str) -> dict[Any, Any] | str:
        assert isinstance(spec, dict)
        open_calls = {
            (re.sub(r"<(?:[^<>:]+:)?([^<>]+)>", r"{\1}", rule.rule), method.lower())
            for rule in app.url_map.iter_rules()
            if is_open_to_users(rule.endpoint)
            for method in rule.methods or ()
        }
        for path, operations in spec["paths"].items():
            for method, operation in operations.items():
                if "{workflow}" in path:
                    operation["responses"].setdefault("409", {"description": _SEVERAL, "content": _PROBLEM})
                _complete(operation, method, is_open=(path, method) in open_calls)
        return spec


def _complete(operation: dict[str, Any], method: str, *, is_open: bool) -> None:
    for status, text in _ERRORS.items():
        operation["responses"].setdefault(status, {"description": text, "content": _PROBLEM})
    operation["security"] = [{"apiKey": []}] + ([{"userToken": []}] if is_open else [])
    for parameter in operation.get("parameters", []):
        # A parameter that is left out is left out: an address has no null.
        options = [option for option in parameter["schema"].pop("anyOf", []) if option.get("type") != "null"]
        if len(options) == 1:
            parameter["schema"] |= options[0]
        elif options:
            parameter["schema"]["anyOf"] = options
        parameter["schema"].pop("default", None)
    if "requestBody" in operation:
        operation["requestBody"]["required"] = True
        operation["responses"]["413"] = {"description": "What was sent is too large.", "content": _PROBLEM}
    if method == "post":
        operation["parameters"] = [
            *operation.get("parameters", []),
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
                "description": "The same key and body again within a day: the same answer, nothing made twice.",
            },
        ]
        conflict = {"description": "The key came before with another call, or that is still under way."}
        operation["responses"].setdefault("409", {**conflict, "content": _PROBLEM})


def _spec() -> dict[str, Any]:
    spec: dict[str, Any] = current_app.spec  # type: ignore[attr-defined]
    return spec


@reference.get("/openapi.json")
def document() -> ResponseReturnValue:
    """The OpenAPI 3.1 document."""
    response = jsonify(_spec())
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


@reference.get("/docs")
def docs() -> ResponseReturnValue:
    """The same to read, made on the server: nothing is loaded from elsewhere."""
    spec = _spec()
    schemas = spec["components"]["schemas"]
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            told = {**operation, "path": path, "method": method.upper()}
            told["sends"] = _fields(_body(operation.get("requestBody", {})), schemas)
            told["gives"] = _fields(_body(_success(operation)), schemas)
            groups.setdefault(operation["tags"][0], []).append(told)
    return render_template("api/docs.html", groups=groups, base=current_app.config["PORTAL_SETTINGS"].base_url)


def _success(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(r for status, r in operation["responses"].items() if status.startswith("2"))
    return found


def _body(part: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = part.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _fields(schema: dict[str, Any], schemas: dict[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """The fields of a schema, indented by `depth`, as rows."""
    schema = _resolve(schema, schemas)
    rows = []
    for name, raw in schema.get("properties", {}).items():
        field = _resolve(raw, schemas)
        inner = _resolve(field.get("items", {}), schemas) if field.get("type") == "array" else field
        rows.append(
            {
                "name": name,
                "depth": depth,
                "type": _type(raw, schemas),
                "is_required": name in schema.get("required", ()),
                "text": raw.get("description") or "",
            }
        )
        if inner.get("properties") and depth < 4:
            rows += _fields(inner, schemas, depth + 1)
    return rows


def _resolve(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = schemas[schema["$ref"].rpartition("/")[2]]
        return found
    for option in schema.get("anyOf", ()):
        if option.get("type") != "null":
            return _resolve(option, schemas)
    return schema


def _type(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(option, schemas) for option in schema["anyOf"])
    schema = _resolve(schema, schemas)
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), schemas)}"
    return str(schema.get("type", "any"))


@reference.route("/one", defaults={"rest": ""}, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
@reference.route("/one/<path:rest>", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def elsewhere(rest: str) -> ResponseReturnValue:
    """The unified API of the product that this portal takes the place of is another product."""
    return {
        "message": "The unified API (/one/…) isn’t part of this portal, which installs integrations. "
        "GET /openapi.json lists what is here."
    }, 404
