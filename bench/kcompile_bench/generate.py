"""Specs of any size as an API server would give them: one TCP port a Service, one EndpointSlice each.

Deterministic.

Service i        default/svc-00000i   10.96.0.1 + i, port 80 -> 8080
its endpoints    10.128.0.1 + i * endpoints ...   on node-000 to node-099 in turn: 1% of the pods each
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from kcompile.ir.model import Dataplane, ResolvedPort, ServicePort
from kcompile.ir.node import Compat, DetectMode, Detector, NodeFacts, Settings

__all__ = [
    "NODE",
    "NODES",
    "NODE_IP",
    "POD_CIDR",
    "PORT",
    "TARGET_PORT",
    "Scale",
    "facts",
    "json_text",
    "manifests",
    "service_and_slice",
    "settings",
    "without_last_endpoint",
    "with_port",
    "yaml_text",
]

POD_CIDR = "10.128.0.0/9"
SERVICE_CIDR = "10.96.0.0/12"
NODE, NODE_IP = "node-000", "192.168.0.1"
PORT, TARGET_PORT = 80, 8080
NODES = 100
_VIPS, _PODS = int(ipaddress.ip_address("10.96.0.1")), int(ipaddress.ip_address("10.128.0.1"))


class Scale(NamedTuple):
    """The number of Services, and of endpoints for each."""

    services: int
    endpoints: int

    @classmethod
    def parse(cls, text: str) -> Scale:
        """``1000x10``."""
        services, _, endpoints = text.partition("x")
        return cls(int(services), int(endpoints))

    def __str__(self) -> str:
        return f"{self.services}x{self.endpoints}"

    @property
    def title(self) -> str:
        """``1,000 x 10``."""
        return f"{self.services:,} x {self.endpoints}"

    def vip(self, service: int) -> str:
        return str(ipaddress.IPv4Address(_VIPS + service))

    def pods(self, service: int) -> list[str]:
        first = _PODS + service * self.endpoints
        return [str(ipaddress.IPv4Address(first + i)) for i in range(self.endpoints)]


def manifests(scale: Scale) -> Iterator[dict[str, Any]]:
    """Every Service, each followed by its EndpointSlice."""
    for i in range(scale.services):
        yield from service_and_slice(scale, i)


def service_and_slice(scale: Scale, i: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Service `i` and its EndpointSlice; `i` may be one that the scale doesn't reach."""
    name = f"svc-{i:06d}"
    return _service(scale, i, name), _slice(scale, i, name)


def json_text(scale: Scale) -> bytes:
    """One List in JSON, without blanks."""
    return msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": list(manifests(scale))})


def yaml_text(scale: Scale) -> bytes:
    """One YAML document an object."""
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump_all(manifests(scale), Dumper=dumper, sort_keys=False)
    return text.encode()


def facts() -> NodeFacts:
    """The node whose rules are made: the first of the hundred."""
    return NodeFacts(name=NODE, zone="zone-0", addresses=(NODE_IP,), node_ports4=(NODE_IP,))


def settings(mode: str) -> Settings:
    """kube-proxy's defaults in `mode` (``nftables``, ``iptables``) with a cluster CIDR; ``ipvs`` and ``xdp``
    follow nftables.
    """
    return Settings(
        compat=Compat.of("iptables" if mode == "iptables" else "nftables"),
        detector=Detector(mode=DetectMode.CLUSTER_CIDR, cidr4=POD_CIDR),
        service_cidrs=(SERVICE_CIDR,) if mode != "iptables" else (),
    )


def without_last_endpoint(port: ServicePort) -> ServicePort:
    """`port` without its last endpoint: the smallest change that a node sees."""
    return msgspec.structs.replace(port, endpoints=port.endpoints[:-1])


def with_port(dataplane: Dataplane, index: int, port: ResolvedPort) -> Dataplane:
    """`dataplane` with `port` at `index`."""
    ports = dataplane.ports
    return msgspec.structs.replace(dataplane, ports=(*ports[:index], port, *ports[index + 1 :]))


def _meta(kind: int, i: int, name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "default",
        "uid": f"00000000-0000-4000-8000-{kind:04d}{i:08d}",
        "resourceVersion": str(1000 + 2 * i),
        "generation": 1,
        "creationTimestamp": "2025-01-01T00:00:00Z",
        "labels": labels,
    }


def _service(scale: Scale, i: int, name: str) -> dict[str, Any]:
    vip = scale.vip(i)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _meta(1, i, name, {"app": name}),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": vip,
            "clusterIPs": [vip],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "sessionAffinity": "None",
            "selector": {"app": name},
            "ports": [{"name": "http", "protocol": "TCP", "port": PORT, "targetPort": TARGET_PORT}],
        },
        "status": {"loadBalancer": {}},
    }


def _slice(scale: Scale, i: int, name: str) -> dict[str, Any]:
    labels = {
        "app": name,
        "kubernetes.io/service-name": name,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": name,
        "uid": f"00000000-0000-4000-8000-0001{i:08d}",
        "controller": True,
    }
    endpoints = []
    for slot, ip in enumerate(scale.pods(i)):
        number = i * scale.endpoints + slot
        pod = {
            "kind": "Pod",
            "namespace": "default",
            "name": f"{name}-{slot}",
            "uid": f"00000000-0000-4000-8000-0003{number:08d}",
        }
        endpoints.append(
            {
                "addresses": [ip],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{number % NODES:03d}",
                "zone": f"zone-{number % 3}",
                "targetRef": pod,
            }
        )
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            **_meta(2, i, f"{name}-abcde", labels),
            "generateName": f"{name}-",
            "ownerReferences": [owner],
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": TARGET_PORT}],
    }
