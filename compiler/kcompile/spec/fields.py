"""Which fields the API has, and what an object has besides: fields that nobody knows, keys that occur twice.

fields.json holds the published schema (OpenAPI v3, of the version it names) as names and types alone: "" is a
value without fields of its own, ``T`` an object of that type, ``[T`` a list of them, ``{`` a map of text.

Nearly every object is as it should be, and proves it without being looked at: decoded and written again, it
has the length that it had. What was lost is a field too many, a key that came twice, or one that isn't kept
here. So it is decoded once more, into the shape of its type, which has all fields and keeps every value's own
bytes. Only where that loses something too is it searched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, DecodeError, Raw, UnsetType, ValidationError

from .objects import Object
from .text import join_path

__all__ = [
    "Finding",
    "Pairs",
    "duplicates",
    "findings",
    "has_duplicates",
    "has_findings",
    "is_whole",
    "schema_version",
]

_Manifest = Raw | dict[str, Any]
_HEAD = len('"apiVersion":"","kind":"",')

RETIRED = {
    "meta.v1.ObjectMeta": {"clusterName": "", "initializers": "", "selfLink": ""},
    "core.v1.ServiceSpec": {
        "topologyKeys": "",
        "ipFamily": "",
        "portalIP": "",
        "publicIPs": "",
        "createExternalLoadBalancer": "",
    },
    "core.v1.NodeSpec": {"externalID": "", "doNotUseExternalID": ""},
    "core.v1.NodeStatus": {"phase": ""},
    "core.v1.PodSpec": {"host": ""},
    "discovery.v1.Endpoint": {"topology": "{"},
    "apps.v1.DeploymentSpec": {"rollbackTo": ""},
    "apps.v1.DaemonSetSpec": {"templateGeneration": ""},
}
"""Fields that the API had and has no longer: objects that were written for it then are quiet about them."""


class Finding(NamedTuple):
    """A duplicate key, or a field that the API doesn't have; `meant` is the field that was probably meant, or
    empty.
    """

    field: str
    duplicate: bool = False
    meant: str = ""


class Pairs(list[tuple[str, Any]]):
    """A mapping that keeps every key as written, repeated ones too."""


class _Schema(msgspec.Struct):
    kubernetes: str
    kinds: dict[str, str]
    types: dict[str, dict[str, str]]


@cache
def _schema() -> _Schema:
    schema = msgspec.json.decode(files(__package__).joinpath("fields.json").read_bytes(), type=_Schema)
    for name, retired in RETIRED.items():
        schema.types[name] = schema.types[name] | retired
    return schema


def schema_version() -> str:
    """The Kubernetes version whose fields are known."""
    return _schema().kubernetes


def is_whole(obj: Object, version: str, kind: str, manifest: Raw) -> bool:
    """True if `obj`, decoded from the JSON `manifest` without blanks, holds every field of it."""
    return len(_encode(obj)) + _HEAD + len(version) + len(kind) == len(memoryview(manifest))


def has_findings(kind: str, manifest: _Manifest) -> bool:
    """False if `findings` can find nothing in a manifest of `kind` (``apps/v1/Deployment``); fast then."""
    if not isinstance(manifest, Raw):
        try:
            msgspec.convert(manifest, _value_shape(kind))
        except ValidationError:
            return True
        return False
    text = msgspec.json.format(manifest, indent=-1)
    try:
        return len(_encode(_decoder(kind)(text))) != len(text)
    except DecodeError:
        return True


def has_duplicates(manifest: Raw) -> bool:
    """True if a key may occur twice in the JSON `manifest`, whatever its kind."""
    try:
        again = msgspec.json.encode(msgspec.json.decode(manifest))
    except DecodeError:
        return True
    return len(again) != len(msgspec.json.format(manifest, indent=-1))


def duplicates(manifest: Raw | bytes) -> list[Finding]:
    """Every key of the JSON `manifest` that occurs a second time."""
    return list(_repeated(_pairs(manifest), ""))


def findings(kind: str, manifest: _Manifest) -> list[Finding]:
    """What a manifest of `kind` has that the API doesn't know, and its duplicate keys where it is JSON, in
    its own order.
    """
    value = _pairs(manifest) if isinstance(manifest, Raw) else manifest
    found = list(_repeated(value, ""))
    found += _unknown(value, _schema().kinds[kind], "")
    return found


# --- shapes: a type for each type of the schema, made when it is first asked for ---

_encode = msgspec.json.Encoder().encode


class _Shapes:
    """`leaf`: the type of a value without fields of its own.

    `strict`: a field that isn't known is a ValidationError.
    """

    def __init__(self, leaf: Any, *, strict: bool) -> None:
        self._leaf, self._strict = leaf, strict
        self._made: dict[str, Any] = {}

    def of(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._leaf  # a type inside of itself isn't looked into
            self._made[name] = self._make(name)
        return self._made[name]

    def _make(self, name: str) -> Any:
        types = _schema().types[name]
        fields = [
            (f"f{number}", self._type(code) | UnsetType, UNSET) for number, code in enumerate(types.values())
        ]
        names = {f"f{number}": field for number, field in enumerate(types)}
        return msgspec.defstruct(
            "Shape", fields, rename=names, gc=False, omit_defaults=True, forbid_unknown_fields=self._strict
        )

    def _type(self, code: str) -> Any:
        if not code:
            return self._leaf
        if code == "{":
            return dict[str, self._leaf] | None  # type: ignore[name-defined]
        if code[0] == "[":
            return list[self.of(code[1:]) | None] | None  # type: ignore[misc]
        return self.of(code) | None


_bytes_shapes = _Shapes(Raw, strict=False)
_value_shapes = _Shapes(object, strict=True)


@cache
def _decoder(kind: str) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(_bytes_shapes.of(_schema().kinds[kind])).decode


@cache
def _value_shape(kind: str) -> Any:
    return _value_shapes.of(_schema().kinds[kind])


# --- the search ---


def _pairs(manifest: Raw | bytes) -> Any:
    text = bytes(manifest)
    return json.loads(text, object_pairs_hook=Pairs, parse_int=_no_number, parse_float=_no_number)


def _no_number(_: str) -> int:
    return 0


def _items(value: Any) -> Any:
    return value if isinstance(value, Pairs) else value.items()


def _repeated(value: Any, path: str) -> Iterator[Finding]:
    """The keys of `value` that come a second time, those of the values inside too."""
    if isinstance(value, (Pairs, dict)):
        seen: set[str] = set()
        for key, inner in _items(value):
            field = join_path(path, key)
            if key in seen:
                yield Finding(field, duplicate=True)
            seen.add(key)
            yield from _repeated(inner, field)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeated(inner, f"{path}[{index}]")


def _unknown(value: Any, name: str, path: str) -> Iterator[Finding]:
    """The keys of `value`, an object of the type `name`, that the type doesn't have."""
    if not isinstance(value, (Pairs, dict)):
        return
    types = _schema().types[name]
    for key, inner in _items(value):
        field = join_path(path, key)
        code = types.get(key)
        if code is None:
            yield Finding(field, meant=_meant(key, name))
        elif code.startswith("["):
            for index, each in enumerate(inner if isinstance(inner, list) else ()):
                yield from _unknown(each, code[1:], f"{field}[{index}]")
        elif code not in ("", "{"):
            yield from _unknown(inner, code, field)


@lru_cache(maxsize=1024)
def _meant(key: str, name: str) -> str:
    """The field of the type `name` whose spelling is nearest to `key`; empty where none is near."""
    from difflib import get_close_matches

    known = {field.lower(): field for field in _schema().types[name]}
    near = get_close_matches(key[:64].lower(), known, n=1, cutoff=0.75)
    return known[near[0]] if near else ""
