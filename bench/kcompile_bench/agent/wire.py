"""Bytes of one watch event, and of a list, on the wire: JSON and protobuf, lists also in gzip (level 1, as an
API server's).

    python -m kcompile_bench.agent.wire

The EndpointSlices have what Kubernetes' controller gives them: labels, owner, trigger time, managedFields,
random uids. Field numbers are those of generated.proto of k8s.io/api/discovery/v1 and k8s.io/apimachinery.
"""

from __future__ import annotations

import json
import random
import sys
import uuid
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

from ..generate import Scale
from .objects import Object, slices

__all__ = ["main", "protobuf"]

_LISTED = 1_000  # slices of a list
_rng = random.Random(1)
_HEAD = b"k8s\0"  # before every body in protobuf


def complete(part: Object) -> Object:
    """A slice with everything that the controller writes."""
    meta = {**part["metadata"], "uid": _uid(), "resourceVersion": str(_rng.randrange(10**7, 10**8))}
    meta["ownerReferences"] = [{**each, "uid": _uid()} for each in meta["ownerReferences"]]
    endpoints = [{**each, "targetRef": {**each["targetRef"], "uid": _uid()}} for each in part["endpoints"]]
    moment = meta["creationTimestamp"]
    fields = {
        "f:addressType": {},
        "f:endpoints": {},
        "f:metadata": {
            "f:annotations": {".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {}},
            "f:generateName": {},
            "f:labels": {".": {}, **{f"f:{name}": {} for name in meta["labels"]}},
            "f:ownerReferences": {".": {}, f'k:{{"uid":"{meta["ownerReferences"][0]["uid"]}"}}': {}},
        },
        "f:ports": {},
    }
    managed = {
        "manager": "kube-controller-manager",
        "operation": "Update",
        "apiVersion": "discovery.k8s.io/v1",
        "time": moment,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    annotations = {"endpoints.kubernetes.io/last-change-trigger-time": moment}
    whole = {**meta, "annotations": annotations, "managedFields": [managed]}
    return {**part, "metadata": whole, "endpoints": endpoints}


def _uid() -> str:
    return str(uuid.UUID(int=_rng.getrandbits(128), version=4))


def protobuf(part: Object) -> bytes:
    """The message EndpointSlice."""
    body = _field(1, _meta(part["metadata"]))
    for each in part["endpoints"]:
        body += _field(2, _endpoint(each))
    for each in part["ports"]:
        body += _field(3, _texts({1: each["name"], 2: each["protocol"]}) + _number(3, each["port"]))
    return body + _field(4, part["addressType"].encode())


def _meta(meta: Object) -> bytes:
    text = _texts({1: meta["name"], 2: meta["generateName"], 3: meta["namespace"], 4: ""})
    text += _texts({5: meta["uid"], 6: meta["resourceVersion"]}) + _number(7, meta["generation"])
    text += _field(8, _number(1, 1_735_689_600) + _number(2, 0))
    for number, pairs in ((11, meta["labels"]), (12, meta["annotations"])):
        for key, value in pairs.items():
            text += _field(number, _texts({1: key, 2: value}))
    for each in meta["ownerReferences"]:
        owner = {1: each["kind"], 3: each["name"], 4: each["uid"], 5: each["apiVersion"]}
        text += _field(13, _texts(owner) + _number(6, 1) + _number(7, 1))
    for each in meta["managedFields"]:
        words = {1: each["manager"], 2: each["operation"], 3: each["apiVersion"], 6: each["fieldsType"]}
        raw = _field(1, json.dumps(each["fieldsV1"], separators=(",", ":")).encode())
        text += _field(17, _texts(words) + _field(4, _number(1, 1_735_689_600)) + _field(7, raw))
    return text


def _endpoint(each: Object) -> bytes:
    conditions = each["conditions"]
    flags = b"".join(
        _number(number, int(conditions[name]))
        for number, name in ((1, "ready"), (2, "serving"), (3, "terminating"))
    )
    target = each["targetRef"]
    words = {1: target["kind"], 2: target["namespace"], 3: target["name"], 4: target["uid"]}
    body = b"".join(_field(1, ip.encode()) for ip in each["addresses"]) + _field(2, flags)
    return body + _field(4, _texts(words)) + _texts({6: each["nodeName"], 7: each["zone"]})


def _texts(fields: Mapping[int, str]) -> bytes:
    return b"".join(_field(number, text.encode()) for number, text in fields.items())


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _event(part: Object) -> tuple[int, int]:
    """Bytes in JSON and in protobuf; a watch's events are never compressed."""
    text = _json({"type": "MODIFIED", "object": part}) + b"\n"
    kind = _texts({1: part["apiVersion"], 2: part["kind"]})
    raw = _HEAD + _field(1, kind) + _field(2, protobuf(part)) + _texts({3: "", 4: ""})
    body = _field(1, b"MODIFIED") + _field(2, _field(1, raw))
    return len(text), 4 + len(body)


def _list(parts: list[Object]) -> tuple[int, int, int, int]:
    """Bytes in JSON, in protobuf, and of both in gzip, for each slice."""
    bare = [
        {key: value for key, value in part.items() if key not in ("kind", "apiVersion")} for part in parts
    ]
    text = _json({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "items": bare})
    raw = _HEAD + b"".join(_field(2, protobuf(part)) for part in parts)
    sizes = [len(text), len(raw), len(zlib.compress(text, 1)), len(zlib.compress(raw, 1))]
    first, second, third, fourth = [size // len(parts) for size in sizes]
    return first, second, third, fourth


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _rows() -> Iterator[str]:
    for endpoints in (2, 10, 100):
        count = max(10, _LISTED // endpoints)
        scale = Scale(count, endpoints)
        parts = [complete(slices(scale, i)[0]) for i in range(count)]
        event = _event(parts[count // 2])
        listed = " | ".join(f"{size:,}" for size in _list(parts))
        yield f"| {endpoints} | {event[0]:,} | {event[1]:,} | {listed} |"


def main() -> int:
    """Print a table in Markdown."""
    print(
        "| endpoints | event, JSON | protobuf | listed, JSON | protobuf | JSON, gzip | protobuf, gzip |\n"
        "| --- | --- | --- | --- | --- | --- | --- |"
    )
    for row in _rows():
        print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
