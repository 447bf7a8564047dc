"""Short ways to write the objects that the tests of the input layer need."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from kcompile.spec.decode import Decoder
from kcompile.spec.inventory import Inventory
from kcompile.spec.objects import Origin

Manifest = dict[str, Any]


def service(
    name: str = "web",
    namespace: str = "demo",
    labels: Any = None,
    annotations: Any = None,
    status: Any = None,
    **spec: Any,
) -> Manifest:
    meta = {"name": name, "namespace": namespace, "labels": labels, "annotations": annotations}
    spec = {"ports": [{"port": 80, "name": "http"}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec, "status": status}


def endpoint(address: str = "10.244.0.1", **fields: Any) -> Manifest:
    return {"addresses": [address], **fields}


def slice_of(
    *endpoints: Manifest, service: str = "web", name: str = "web-1", ports: Any = None, labels: Any = None
) -> Manifest:
    family = "IPv6" if endpoints and ":" in endpoints[0]["addresses"][0] else "IPv4"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "demo",
            "labels": {"kubernetes.io/service-name": service, **(labels or {})},
        },
        "addressType": family,
        "endpoints": list(endpoints),
        "ports": [{"name": "http", "port": 8080}] if ports is None else ports,
    }


def pod(
    name: str = "web-0",
    ip: Any = "10.244.0.1",
    labels: Any = None,
    ports: Any = None,
    deleted: bool = False,
    **fields: Any,
) -> Manifest:
    """`fields`: nodeName, hostname, subdomain into the spec, phase and conditions into the status."""
    ips = [ip] if isinstance(ip, str) else list(ip)
    spec = {key: fields.pop(key) for key in ("nodeName", "hostname", "subdomain") if key in fields}
    meta = {"name": name, "namespace": "demo", "labels": {"app": "web"} if labels is None else labels}
    if deleted:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {**spec, "containers": [{"name": "c", "ports": ports}]},
        "status": {"podIP": ips[0] if ips else None, "podIPs": [{"ip": i} for i in ips], **fields},
    }


def node(name: str = "node-a", addresses: Any = (), zone: str = "", **spec: Any) -> Manifest:
    labels = {"topology.kubernetes.io/zone": zone} if zone else {}
    entries = [{"type": kind, "address": address} for kind, address in addresses]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": spec,
        "status": {"addresses": entries},
    }


def inventory(*manifests: Manifest) -> Inventory:
    made = Inventory()
    decoder = Decoder(made)
    for number, manifest in enumerate(manifests, 1):
        decoder.add(msgspec.Raw(json.dumps(manifest).encode()), Origin("test.json", number))
    return made


def write(path: Path, *manifests: Manifest) -> str:
    path.write_text("\n".join(map(json.dumps, manifests)))
    return str(path)
