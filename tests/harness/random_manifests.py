"""Random manifests that are valid, for property tests from the text of specs to the kernel."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["random_manifests"]

Manifest = dict[str, Any]


def random_manifests(rng: random.Random, services: int = 8) -> list[Manifest]:
    """Services of every type with slices, Endpoints or Pods behind them, and two Nodes; in no particular
    order.
    """
    objects = [_node("node-a", "zone-a", 0), _node("node-b", "zone-b", 1)]
    for i in rng.sample(range(3 * services), services):
        objects += _service(rng, i)
    rng.shuffle(objects)
    return objects


def _node(name: str, zone: str, number: int) -> Manifest:
    addresses = [
        {"type": "InternalIP", "address": f"192.0.2.{10 + number}"},
        {"type": "InternalIP", "address": f"2001:db8:1::{10 + number}"},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
        "spec": {"podCIDRs": [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]},
        "status": {"addresses": addresses},
    }


def _service(rng: random.Random, i: int) -> list[Manifest]:
    kind = rng.choice(("ClusterIP", "ClusterIP", "NodePort", "LoadBalancer"))
    meta = {"name": f"svc-{i}", "namespace": rng.choice(("default", "shop"))}
    ports = [_port(rng, p) for p in range(rng.choice((1, 1, 2, 3)))]
    spec: Manifest = {
        "type": kind,
        "ports": ports,
        "ipFamilyPolicy": rng.choice(("SingleStack", "PreferDualStack")),
    }
    if rng.random() < 0.2:
        spec["sessionAffinity"] = "ClientIP"
    if rng.random() < 0.3:
        spec["internalTrafficPolicy"] = "Local"
    if kind != "ClusterIP" and rng.random() < 0.4:
        spec["externalTrafficPolicy"] = "Local"
    if rng.random() < 0.2:
        spec["externalIPs"] = [f"198.18.1.{i + 1}"]
    service: Manifest = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}
    if kind == "LoadBalancer":
        service["status"] = {"loadBalancer": {"ingress": [{"ip": f"198.18.0.{i + 1}"}]}}
        if rng.random() < 0.4:
            spec["loadBalancerSourceRanges"] = ["203.0.113.0/29", "192.0.2.0/24"]
    source = rng.choice((_slices, _slices, _endpoints, _pods))
    return [service, *source(rng, i, meta, spec)]


def _port(rng: random.Random, p: int) -> Manifest:
    return {
        "name": f"p{p}",
        "port": 80 + p,
        "targetPort": 8080 + p,
        "protocol": rng.choice(("TCP", "TCP", "UDP", "SCTP")),
    }


def _slices(rng: random.Random, i: int, meta: Manifest, spec: Manifest) -> list[Manifest]:
    ports = [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"]} for p in spec["ports"]]
    made = []
    for family, prefix in (("IPv4", "10.244.{}.{}"), ("IPv6", "fd00:10:244:{}::{}")):
        endpoints = []
        for e in range(rng.choice((0, 1, 2, 4))):
            node = rng.choice((0, 1))
            ready = rng.random() < 0.8
            conditions = {
                "ready": ready,
                "serving": ready or rng.random() < 0.5,
                "terminating": not ready and rng.random() < 0.5,
            }
            endpoint: Manifest = {
                "addresses": [prefix.format(node, i * 5 + e + 1)],
                "conditions": conditions,
                "nodeName": "node-" + "ab"[node],
            }
            if rng.random() < 0.3:
                endpoint["hints"] = {"forZones": [{"name": rng.choice(("zone-a", "zone-b"))}]}
            endpoints.append(endpoint)
        labels = {"kubernetes.io/service-name": meta["name"]}
        name = f"{meta['name']}-{family.lower()}"
        made.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**meta, "name": name, "labels": labels},
                "addressType": family,
                "endpoints": endpoints,
                "ports": ports,
            }
        )
    return made


def _endpoints(rng: random.Random, i: int, meta: Manifest, spec: Manifest) -> list[Manifest]:
    ports = [{"name": p["name"], "port": p["targetPort"], "protocol": p["protocol"]} for p in spec["ports"]]
    subset: Manifest = {"addresses": [{"ip": f"10.244.0.{i * 5 + 1}", "nodeName": "node-a"}], "ports": ports}
    if rng.random() < 0.5:
        subset["notReadyAddresses"] = [{"ip": f"10.244.1.{i * 5 + 2}", "nodeName": "node-b"}]
    return [{"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": [subset]}]


def _pods(rng: random.Random, i: int, meta: Manifest, spec: Manifest) -> list[Manifest]:
    spec["selector"] = {"app": meta["name"]}
    pods = []
    for e in range(rng.choice((1, 2, 3))):
        node = rng.choice((0, 1))
        ips = [{"ip": f"10.244.{node}.{i * 5 + e + 1}"}, {"ip": f"fd00:10:244:{node}::{i * 5 + e + 1}"}]
        status = {
            "phase": "Running",
            "podIP": ips[0]["ip"],
            "podIPs": ips,
            "conditions": [{"type": "Ready", "status": rng.choice(("True", "False"))}],
        }
        pods.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {**meta, "name": f"{meta['name']}-{e}", "labels": {"app": meta["name"]}},
                "spec": {"nodeName": "node-" + "ab"[node], "containers": [{"name": "c", "image": "i"}]},
                "status": status,
            }
        )
    return pods
