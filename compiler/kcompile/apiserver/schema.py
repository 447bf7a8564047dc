"""The published schemas of the kinds (OpenAPI v3): which fields an object has, and of which types.

schemas.json has them by name, with the merge keys and strategies of patches.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from .schematypes import Types

__all__ = ["Schema", "field_of", "items_of", "known", "of_kind", "of_type", "published", "wrong_type"]

Schema = dict[str, Any]
_PREFIX = "#/components/schemas/"
_OPEN: Schema = {}
"""The schema of what isn't described: anything goes."""
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_PLAIN = {"boolean": bool, "object": dict, "array": list}
_GO = {"integer": "int32", "string": "string", "boolean": "bool", "number": "float64"}


@cache
def published() -> Schema:
    """schemas.json: ``kinds`` (apiVersion/Kind to the name of a schema) and ``schemas``."""
    text = resources.files(__package__).joinpath("schemas.json").read_text()
    found: Schema = json.loads(text)
    return found


@cache
def _types() -> Types:
    return Types(published()["schemas"])


def of_kind(api_version: str, kind: str) -> Schema:
    """The schema of a kind; an open one for a kind that isn't described."""
    data = published()
    name = data["kinds"].get(f"{api_version}/{kind}")
    return data["schemas"][name] if name else _OPEN


def of_type(name: str) -> Schema:
    """The schema of a type that isn't a kind of its own, by its full name."""
    found: Schema = published()["schemas"][name]
    return found


def _whole(schema: Schema) -> Schema:
    """`schema`, or what it refers to."""
    reference = schema.get("$ref") or next((each["$ref"] for each in schema.get("allOf") or ()), None)
    return published()["schemas"][reference.removeprefix(_PREFIX)] if reference else schema


def field_of(schema: Schema, name: str) -> Schema | None:
    """The schema of an object's field, with its patch strategy; None where it has no such field."""
    whole = _whole(schema)
    if (properties := whole.get("properties")) is not None:
        found: Schema | None = properties.get(name)
        return found
    values: Schema = whole.get("additionalProperties") or _OPEN
    return values


def items_of(schema: Schema) -> Schema:
    """The schema of a list's items."""
    found: Schema = _whole(schema).get("items") or _OPEN
    return found


def known(schema: Schema, value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """`value` without the fields that the schema doesn't have, and their paths: ``spec.ports[0].prot``."""
    unknown: list[str] = []
    kept: dict[str, Any] = _known(schema, value, "", unknown)
    return kept, unknown


def _known(schema: Schema, value: Any, path: str, unknown: list[str]) -> Any:
    if isinstance(value, list):
        items = items_of(schema)
        return [_known(items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, each in value.items():
        where = f"{path}.{name}" if path else name
        if (field := field_of(schema, name)) is None:
            unknown.append(where)
        else:
            kept[name] = _known(field, each, where, unknown)
    return kept


def wrong_type(schema: Schema, value: Any) -> tuple[str, str, str] | None:
    """The first value that isn't of its field's type: its path, its type, the field's. None if all are."""
    return None if _types().converts(schema, value) else _wrong(schema, value, "")


def _wrong(schema: Schema, value: Any, path: str) -> tuple[str, str, str] | None:
    whole = _whole(schema)
    if not _fits(whole, value):
        return path, _named(value), _wanted(whole)
    if isinstance(value, list):
        if None in value:
            return f"{path}[{value.index(None)}]", "null", _wanted(_whole(items_of(whole)))
        items = items_of(whole)
        each = ((items, item, f"{path}[{index}]") for index, item in enumerate(value))
    elif isinstance(value, dict):
        fields = ((field_of(whole, name), item, name) for name, item in value.items())
        each = (
            (field, item, f"{path}.{name}" if path else name)
            for field, item, name in fields
            if field is not None
        )
    else:
        return None
    return next((found for one in each if (found := _wrong(*one)) is not None), None)


def _fits(schema: Schema, value: Any) -> bool:
    if value is None or not schema:
        return True
    if (choices := schema.get("oneOf")) is not None:
        return any(_fits(choice, value) for choice in choices)
    match schema.get("type"):
        case "integer":
            return _is_integer(value)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str) and _is_formed(schema.get("format"), value)
        case None:
            return True
        case kind:
            return isinstance(value, _PLAIN[kind])


def _is_formed(form: str | None, text: str) -> bool:
    """True if a string is a time (RFC 3339) or bytes (base64), where it has to be."""
    if form == "date-time":
        with contextlib.suppress(ValueError):
            return _TIME.fullmatch(text) is not None and datetime.fromisoformat(text) is not None
        return False
    if form == "byte":
        with contextlib.suppress(ValueError):
            return base64.b64decode(text, validate=True) is not None
        return False
    return True


def _is_integer(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, int) and not isinstance(value, bool)


def _named(value: Any) -> str:
    """The word of Go's JSON for a value."""
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _wanted(schema: Schema) -> str:
    if "oneOf" in schema:
        return " or ".join(choice["type"] for choice in schema["oneOf"])
    kind = schema.get("type", "")
    return str(schema.get("format") or _GO.get(kind, kind))
