"""Objects in Kubernetes' protobuf: kubectl's imperative verbs send them so, and don't fall back on JSON.

protobuf.json has the field numbers and types of the messages, as in the API's .proto files. What is on the
wire: https://protobuf.dev/programming-guides/encoding/; the envelope: apimachinery's runtime.Unknown.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Any

from .status import bad_request, unsupported_media_type

__all__ = ["PROTOBUF", "read_protobuf"]

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_UNKNOWN = "k8s.io.apimachinery.pkg.runtime.Unknown"
_META = "k8s.io.apimachinery.pkg.apis.meta.v1."
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_NUMBERS = ("int32", "int64")
_INLINE = ("handler", "localObjectReference", "volumeSource")
"""Messages whose fields are those of the message around them, in JSON."""
_NO_POINTERS = frozenset(
    (
        "allowed",
        "containerPort",
        "denied",
        "generation",
        "healthCheckNodePort",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostPort",
        "minReadySeconds",
        "nodePort",
        "observedGeneration",
        "paused",
        "port",
        "publishNotReadyAddresses",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "unschedulable",
    )
)
"""Fields that always come, as zero where they aren't set."""


@cache
def _messages() -> dict[str, dict[str, list[str]]]:
    text = resources.files(__package__).joinpath("protobuf.json").read_text()
    found: dict[str, dict[str, list[str]]] = json.loads(text)["messages"]
    return found


@cache
def _fields(message: str) -> dict[int, tuple[str, str, bool]]:
    """A message's fields by number: name, type, repeated."""
    return {int(each[0]): (name, each[1], len(each) > 2) for name, each in _messages()[message].items()}


def read_protobuf(body: bytes) -> dict[str, Any]:
    """The object that `body` holds, as in JSON.

    :raises StatusError: 400, where it isn't protobuf; 415, where its kind isn't among the known ones
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the body of the request doesn't begin as Kubernetes' protobuf does")
    try:
        envelope = _message(_UNKNOWN, memoryview(body)[len(_MAGIC) :])
        head = envelope["typeMeta"]
        name = _name(head.get("apiVersion", ""), head.get("kind", ""))
        found = _message(name, memoryview(base64.b64decode(envelope.get("raw", ""))))
    except (IndexError, KeyError, UnicodeDecodeError, ValueError) as error:
        raise bad_request(f"the protobuf in the body of the request can't be read: {error}") from None
    return {"apiVersion": head["apiVersion"], "kind": head["kind"], **found}


def _name(version: str, kind: str) -> str:
    """The message of a kind."""
    group, _, number = version.rpartition("/")
    package = (group or "core").removesuffix(".k8s.io")
    name = _META + kind if kind == "DeleteOptions" else f"k8s.io.api.{package}.{number}.{kind}"
    if name not in _messages():
        raise unsupported_media_type()
    return name


def _message(name: str, data: memoryview) -> Any:
    """One message; those that have a form of their own in JSON have it."""
    found: dict[str, Any] = {}
    fields = _fields(name)
    for number, value in _wire(data):
        if number not in fields:
            continue
        field, kind, repeated = fields[number]
        if kind.startswith("map<"):
            key, entry = _entry(kind, value)
            found.setdefault(field, {})[key] = entry
        elif repeated:
            found.setdefault(field, []).append(_value(kind, value))
        else:
            _put(found, field, _value(kind, value))
    return _special(name.rpartition(".")[2], found)


def _put(found: dict[str, Any], field: str, value: Any) -> None:
    if value in ("", None) or (field in _NO_POINTERS and not value):
        return
    if field in _INLINE and isinstance(value, dict):
        found.update(value)
    else:
        found[field] = value


def _special(name: str, found: dict[str, Any]) -> Any:
    match name:
        case "IntOrString":
            return found.get("strVal", "") if found.get("type") else found.get("intVal", 0)
        case "Quantity":
            return found.get("string", "0")
        case "Time" | "MicroTime":
            if "seconds" not in found:
                return None
            return datetime.fromtimestamp(found["seconds"], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return found


def _entry(kind: str, data: int | memoryview) -> tuple[str, Any]:
    """One entry of a map: key and value are its fields 1 and 2."""
    values = kind.removeprefix("map<string,").removesuffix(">")
    parts = dict(_wire(_view(data)))
    return str(_view(parts.get(1, memoryview(b""))), "utf-8"), _value(values, parts.get(2, memoryview(b"")))


def _value(kind: str, value: int | memoryview) -> Any:
    if kind in _NUMBERS or kind == "bool":
        if not isinstance(value, int):
            raise ValueError(f"a {kind} is missing")
        number = value - 2**64 if value >= 2**63 else value
        return bool(number) if kind == "bool" else number
    data = _view(value)
    if kind == "string":
        return str(data, "utf-8")
    return base64.b64encode(data).decode() if kind == "bytes" else _message(kind, data)


def _view(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where text or a message should be")
    return value


def _wire(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: their numbers, and a number or bytes."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            number, place = _varint(data, place)
            yield key >> 3, number
            continue
        if kind == _BYTES:
            length, place = _varint(data, place)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[kind]
        if place + length > len(data):
            raise ValueError("it is cut off")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of 7 bits a byte, and the place behind it."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, place
        shift += 7
