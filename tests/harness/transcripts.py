"""What a real API server (Kubernetes 1.36.2) answered, request by request: tests/apiserver/data.

Objects stand once, under ``KIND NAMESPACE/NAME@VERSION``, and are named by that in lists and events. Their
managedFields are left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Exchange", "Transcripts", "read"]

FILE = Path(__file__).parents[1] / "apiserver/data/transcripts.jsonl"
VERSIONS = {"EndpointSlice": "discovery.k8s.io/v1", "ServiceCIDR": "networking.k8s.io/v1"}


class Exchange(NamedTuple):
    """A request and its answer. `events`: a watch's, as (type, object)."""

    file: str
    name: str
    method: str
    path: str
    status: int
    headers: dict[str, str]
    body: Any
    events: list[tuple[str, dict[str, Any]]] | None


class Transcripts(NamedTuple):
    objects: dict[str, dict[str, Any]]
    exchanges: list[Exchange]

    def of(self, file: str) -> dict[str, Exchange]:
        """The exchanges of one recording, by the first word of their names."""
        return {each.name.split(" ")[0]: each for each in self.exchanges if each.file == file}

    def existing(self, *keys: str) -> list[dict[str, Any]]:
        """Whole objects, for a store."""
        return [whole(key, self.objects[key]) for key in keys]


def whole(key: str, obj: dict[str, Any]) -> dict[str, Any]:
    kind = key.split(" ")[0]
    return {"kind": kind, "apiVersion": VERSIONS.get(kind, "v1"), **obj}


def read() -> Transcripts:
    """Read all of them."""
    first, *lines = FILE.read_text().splitlines()
    objects = json.loads(first)["objects"]
    return Transcripts(objects, [_exchange(json.loads(line), objects) for line in lines])


def _exchange(line: dict[str, Any], objects: dict[str, dict[str, Any]]) -> Exchange:
    method, path = line["request"].split(" ")
    body, events = line.get("body"), line.get("events")
    if isinstance(body, dict) and "items" in body:
        body["items"] = [objects[key] for key in body["items"]]
    if events is not None:
        events = [(kind, whole(obj, objects[obj]) if isinstance(obj, str) else obj) for kind, obj in events]
    return Exchange(line["file"], line["name"], method, path, line["status"], line["headers"], body, events)
