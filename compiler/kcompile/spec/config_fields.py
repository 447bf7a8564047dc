"""Decodes one document of a configuration file into a struct, field by field, to report all problems."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import UnsetType
from msgspec.structs import fields

from ..errors import ConfigError
from .fieldtypes import decode_field
from .text import explain, join_path, shown

__all__ = ["Findings", "read_struct", "warn_unknown"]

_MESSAGE_LIMIT = 1000  # characters; what doesn't fit is counted
_WARNINGS_LIMIT = 20  # unknown fields that are named one by one

_S = TypeVar("_S", bound=msgspec.Struct)


class Findings:
    """Problems and warnings in the file `source`, each with its place."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[tuple[str, str]] = []
        self.warnings: list[str] = []

    def wrong(self, where: str, field: str, message: str) -> None:
        self.problems.append((where, f"{field}: {message}" if field else message))

    def warn(self, field: str, message: str) -> None:
        self.warnings.append(f"{self.source}: {field}: {message}")

    def refuse(self) -> None:
        """Raise ConfigError if there are problems: one line with all of them, or with the first few."""
        if not self.problems:
            return
        line = self.source
        place = ""
        for number, (where, text) in enumerate(self.problems):
            if number and len(line) + len(text) > _MESSAGE_LIMIT:
                line += f"; and {len(self.problems) - number} more"
                break
            separator = "; " if number else ": "
            line += separator + (f"{where}: " if where and where != place else "") + text
            place = where
        raise ConfigError(line)


def read_struct(
    form: type[_S], value: Any, findings: Findings, where: str, path: str = "", *, strict: bool = False
) -> _S | None:
    """`value` as `form`; None where it isn't a mapping.

    A wrong field is reported in `findings` and keeps its default. `strict`: an unknown field is wrong too.
    """
    if not isinstance(value, dict):
        findings.wrong(where, path, f"must be a mapping, got {shown(value)}")
        return None
    given: dict[str, Any] = {}
    complete = True
    for field in fields(form):
        name = join_path(path, field.encode_name)
        if field.encode_name not in value:
            if field.required:
                findings.wrong(where, name, "this field is required")
                complete = False
            continue
        read = _read(field.type, value[field.encode_name], findings, where, name, strict)
        if read is not _FAILED:
            given[field.name] = read
        elif field.required:
            complete = False
    if strict:
        for key in _unknown(form, value):
            findings.wrong(where, join_path(path, key), "unknown field")
    return form(**given) if complete else None


_FAILED = object()


def _read(kind: Any, value: Any, findings: Findings, where: str, path: str, strict: bool) -> Any:
    """`value` as `kind`, or _FAILED."""
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        read = read_struct(kind, value, findings, where, path, strict=strict)
        return _FAILED if read is None else read
    if typing.get_origin(kind) is list and isinstance(value, list):
        element = typing.get_args(kind)[0]
        every = [
            _read(element, one, findings, where, f"{path}[{index}]", strict)
            for index, one in enumerate(value)
        ]
        return _FAILED if any(one is _FAILED for one in every) else every
    try:
        return msgspec.convert(value, kind, dec_hook=decode_field)
    except msgspec.ValidationError as error:
        wrong = explain(error, value)
        findings.wrong(where, path if not wrong.field else _below(path, wrong.field), wrong.message)
        return _FAILED


def _plain(kind: Any) -> Any:
    """`kind` without UNSET, for a value that is set."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    others = tuple(each for each in typing.get_args(kind) if each is not UnsetType)
    return typing.Union[others]  # noqa: UP007 -- made from a tuple


def _below(path: str, field: str) -> str:
    return path + field if field.startswith("[") else f"{path}.{field}"


def _unknown(form: type[msgspec.Struct], value: Mapping[str, Any]) -> list[str]:
    known = {field.encode_name for field in fields(form)}
    return [key for key in value if key not in known]


def _unknown_fields(
    form: type[msgspec.Struct], value: Any, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """The paths in `value` that `form` doesn't have, null ones too: a strict decoder counts them."""
    if not isinstance(value, dict):
        return
    for key in _unknown(form, value):
        yield (*path, key)
    for field in fields(form):
        inner = _plain(field.type)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _unknown_fields(inner, value.get(field.encode_name), (*path, field.encode_name))


def _known_names(form: type[msgspec.Struct], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every field of `form` and of the structs inside it: name, path."""
    for field in fields(form):
        path = join_path(prefix, field.encode_name)
        yield field.encode_name, path
        inner = _plain(field.type)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _known_names(inner, path)


def warn_unknown(
    form: type[msgspec.Struct], value: Any, findings: Findings, retired: Iterable[str] = ()
) -> None:
    """Warn of each field of `value` that `form` doesn't have, with the field that was probably meant."""
    found = list(_unknown_fields(form, value))
    for path in found[:_WARNINGS_LIMIT]:
        field = ""
        for step in path:
            field = join_path(field, step)
        hint = "a field of older versions" if field in retired else _hint(form, path)
        findings.warn(field, "unknown field, ignored as by kube-proxy" + (f": {hint}" if hint else ""))
    if len(found) > _WARNINGS_LIMIT:
        findings.warnings.append(
            f"{findings.source}: {len(found) - _WARNINGS_LIMIT} more unknown fields, ignored as by kube-proxy"
        )


def _hint(form: type[msgspec.Struct], path: tuple[str, ...]) -> str:
    from difflib import get_close_matches

    names = list(_known_names(form))
    name = path[-1]
    elsewhere = [place for known, place in names if known == name]
    if elsewhere:
        return (
            f"it belongs to {' or '.join(place.rpartition('.')[0] or 'the top level' for place in elsewhere)}"
        )
    prefix = "".join(f"{step}." for step in path[:-1])
    beside = {known.lower(): known for known, place in names if place == prefix + known}
    anywhere = {known.lower(): place for known, place in names}
    for spelled in (beside, anywhere):
        if near := get_close_matches(name.lower(), list(spelled), 1, 0.8):
            return f"did you mean {spelled[near[0]]}?"
    return ""
