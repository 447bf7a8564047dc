"""Short ways to write the objects of the bad inputs."""

from __future__ import annotations

import json
from typing import Any

import yaml

__all__ = [
    "PORT", "SLICE", "WEB", "Manifest", "ObjectCase",
    "as_json", "as_yaml", "balanced", "other", "service", "slice_of",
]  # fmt: skip

Manifest = dict[str, Any]
ObjectCase = tuple[str, list[Manifest], tuple[str, ...]]
"""An id, the objects, and what the message must hold."""
PORT = {"port": 80}


def as_yaml(objects: list[Manifest]) -> bytes:
    return yaml.safe_dump_all(objects).encode()


def as_json(objects: list[Manifest]) -> bytes:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=1).encode()


def service(
    name: Any = "web",
    namespace: Any = "demo",
    status: Any = None,
    labels: Any = None,
    annotations: Any = None,
    **spec: Any,
) -> Manifest:
    spec = {"ports": [PORT], **spec}
    meta = {"name": name, "namespace": namespace, "labels": labels or {}, "annotations": annotations or {}}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    return made if status is None else {**made, "status": status}


def balanced(**spec: Any) -> Manifest:
    return service(type="LoadBalancer", **spec)


def slice_of(
    addresses: Any = ("10.244.0.5",),
    ports: Any = ({"port": 8080},),
    family: Any = "IPv4",
    name: str = "web-1",
    **endpoint: Any,
) -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "demo", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": family,
        "endpoints": [
            {"addresses": list(addresses) if isinstance(addresses, tuple) else addresses, **endpoint}
        ],
        "ports": list(ports) if isinstance(ports, tuple) else ports,
    }


def other(kind: str, version: str = "v1", name: str = "x", **fields: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": "demo"}, **fields}


WEB = "Service demo/web"
SLICE = "EndpointSlice demo/web-1"
