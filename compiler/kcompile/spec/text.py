"""Puts problems in the input into words: one line, no raw control characters, a path into the object.

Messages with text of a manifest end up in terminals and logs, so nothing from the input is repeated raw.
"""

from __future__ import annotations

import json
import re

import msgspec

from ..errors import AllocationError, SpecError
from .objects import Object

__all__ = ["Wrong", "conflict", "explain", "join_path", "printable", "problem", "shown"]

_NAME_LIMIT = 300
_VALUE_LIMIT = 64

_WORDS = {
    "int": "an integer",
    "str": "a string",
    "float": "a number with a fraction",
    "bool": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a mapping",
}
_TYPES = re.compile(r"Expected `([^`]*)`, got `([^`]*)`")
_BOUND = re.compile(r"Expected `int` ([<>]=?) (-?\d+)")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


class Wrong(Exception):  # noqa: N818 -- never leaves this package: a reader turns it into a SpecError or a ConfigError
    """A malformed text or value: the problem, the document of its file, the field."""

    def __init__(self, message: str, *, document: int = 0, field: str = "") -> None:
        super().__init__(message)
        self.message, self.document, self.field = message, document, field


def printable(text: str) -> str:
    """`text` as it is when it is short and harmless to print, quoted and cut otherwise."""
    return text if text.isprintable() and len(text) <= _NAME_LIMIT else _quoted(text, _NAME_LIMIT)


def shown(value: object) -> str:
    """A value from the input, for a message: quoted like JSON, cut when long."""
    if isinstance(value, str):
        return _quoted(value, _VALUE_LIMIT)
    if isinstance(value, (dict, list)):
        return _WORDS["object" if isinstance(value, dict) else "array"]
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else _number(value)
    return text if len(text) <= _VALUE_LIMIT else text[:_VALUE_LIMIT] + "..."


def _number(value: object) -> str:
    # str() of an int beyond 4,300 digits raises; its size is enough to say.
    return (
        f"a number of {value.bit_length()} bits"
        if isinstance(value, int) and value.bit_length() > 256
        else str(value)
    )


def _quoted(text: str, limit: int) -> str:
    return json.dumps(text) if len(text) <= limit else json.dumps(text[:limit]) + "..."


def join_path(field: str, step: str) -> str:
    """``spec`` and ``ports`` to ``spec.ports``; a key that isn't a plain word goes into brackets, quoted."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", step):
        return f"{field}.{step}" if field else step
    return f"{field}[{_quoted(step, _VALUE_LIMIT)}]"


def problem(obj: Object, field: str, message: str) -> SpecError:
    """The error that says `message` of `field` in `obj`, and where `obj` was read."""
    where = obj.origin
    return SpecError(
        message, source=printable(where.source), document=where.document, obj=_described(obj), field=field
    )


def conflict(obj: Object, field: str, message: str) -> AllocationError:
    """As `problem`, for an address or a port that `obj` can't have."""
    where = obj.origin
    return AllocationError(
        message, source=printable(where.source), document=where.document, obj=_described(obj), field=field
    )


def _described(obj: Object) -> str:
    return printable(obj.describe()) if obj.metadata.name else type(obj).__name__


def explain(error: msgspec.ValidationError, value: object = None) -> Wrong:
    """msgspec's message in plain words; its path as the API spells one; the offending part of `value` where
    it can be found.
    """
    text, at, path = str(error).rpartition(" - at `$")
    if not at:
        text, path = path, ""
    types = _TYPES.fullmatch(text)
    field, found = _follow(path.rstrip("`"), value, types[2] if types else "")
    if match := _MISSING.fullmatch(text):
        return Wrong("this field is required", field=join_path(field, match[1]))
    if match := _UNKNOWN.fullmatch(text):
        return Wrong("unknown field", field=join_path(field, match[1]))
    if types:
        wanted, got = ([_WORDS.get(t, t) for t in side.split(" | ")] for side in types.groups())
        detail = f" ({shown(found)})" if isinstance(found, (str, int, float)) else ""
        return Wrong(f"must be {' or '.join(wanted)}, got {' or '.join(got)}{detail}", field=field)
    if match := _BOUND.fullmatch(text):
        return Wrong(f"must be {match[1]} {match[2]}, got {shown(found)}", field=field)
    if text.startswith("Invalid enum value"):
        return Wrong(f"{shown(found)} is not an allowed value", field=field)
    return Wrong(text.replace("`", "")[:1].lower() + text.replace("`", "")[1:], field=field)


def _follow(path: str, value: object, got: str) -> tuple[str, object]:
    """The API's spelling of msgspec's `path`, and what `value` holds there.

    msgspec writes ``[...]`` for "some value of this mapping": the first one of the type `got`.
    """
    field = ""
    for name, index in _STEP.findall(path):
        if name:
            field = join_path(field, name)
            value = value.get(name) if isinstance(value, dict) else None
        elif index == "...":
            entries = value.items() if isinstance(value, dict) else ()
            key, value = next(((k, v) for k, v in entries if _type_name(v) == got), ("", None))
            field = join_path(field, key) if key else field
        else:
            field += f"[{index}]"
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else None
    return field, value


def _type_name(value: object) -> str:
    """msgspec's name for the type of a plain value."""
    names = {type(None): "null", dict: "object", list: "array"}
    return names.get(type(value), type(value).__name__)
