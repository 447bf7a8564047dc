"""Services and EndpointSlices as an API server gives them, in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from kcompile.spec.objects import EndpointSlice, Node, Service

__all__ = ["node", "service", "slice_of"]

NAMESPACE = "shop"


def service(name: str, ip: str, *ports: dict[str, Any], **spec: Any) -> Service:
    """A Service in namespace ``shop``; `ports`: by default TCP 80, named ``p``."""
    six = ":" in ip
    plain = {
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": f"uid-{name}"},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip,
            "clusterIPs": [ip],
            "ipFamilies": ["IPv6" if six else "IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": list(ports) or [{"name": "p", "port": 80, "protocol": "TCP"}],
            **spec,
        },
    }
    if "status" in spec:
        plain["status"] = plain["spec"].pop("status")
    return msgspec.convert(plain, Service)


def slice_of(
    name: str, *ips: str, port: int = 8080, protocol: str = "TCP", suffix: str = "x", **more: Any
) -> EndpointSlice:
    """The slice ``NAME-SUFFIX`` of Service `name` with ready endpoints on node-a, or as `more` says."""
    endpoint = {"conditions": {"ready": True, "serving": True}, "nodeName": "node-a", **more}
    plain = {
        "metadata": {
            "name": f"{name}-{suffix}",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": name},
            "uid": f"uid-{name}-{suffix}",
        },
        "addressType": "IPv6" if ips and ":" in ips[0] else "IPv4",
        "ports": [{"name": "p", "port": port, "protocol": protocol}],
        "endpoints": [{"addresses": [ip], **endpoint} for ip in ips],
    }
    return msgspec.convert(plain, EndpointSlice)


def node(name: str, *ips: str, pod_cidrs: Sequence[str] = ()) -> Node:
    plain = {
        "metadata": {"name": name},
        "spec": {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)} if pod_cidrs else {},
        "status": {"addresses": [{"type": "InternalIP", "address": ip} for ip in ips]},
    }
    return msgspec.convert(plain, Node)
