"""The Service ``kubernetes`` in the namespace default: the API server's own address for Pods.

pkg/controlplane/controller/kubernetesservice and pkg/controlplane/reconcilers. It has no selector; its
Endpoints object and its slice are written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network

from ...spec.allocate import DEFAULT_SERVICE_CIDRS
from ...spec.wellknown import SERVICE_LABEL
from ..client import Client, Key, Obj
from .writes import Create, Update, Write

__all__ = ["KubernetesService", "wanted"]

_KEY = ("default", "kubernetes")
_PORT = "https"


class KubernetesService:
    """`endpoints`: addresses and ports of the API server, all of one port; [] for no such Service."""

    name = "kubernetes-service-controller"
    kinds = ("Namespace", "ServiceCIDR", "Service", "Endpoints", "EndpointSlice")

    def __init__(self, client: Client, endpoints: Sequence[tuple[str, int]]) -> None:
        self._client, self._endpoints = client, endpoints

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        meta = (new or old or {})["metadata"]
        own = (meta.get("namespace", ""), meta["name"]) == _KEY
        return [_KEY] if own or kind == "ServiceCIDR" or meta["name"] == "default" else []

    def decide(self, _key: Key) -> list[Write]:
        if not self._endpoints or self._client.get("Namespace", "", "default") is None:
            return []
        specs = [each.get("spec") or {} for each in self._client.objects("ServiceCIDR").values()]
        cidrs = [cidr for spec in specs for cidr in spec.get("cidrs") or ()]
        writes: list[Write] = []
        for obj in wanted(self._endpoints, cidrs or DEFAULT_SERVICE_CIDRS):
            writes += _made(obj, self._client.get(obj["kind"], *_KEY))
        return writes


def _made(obj: Obj, existing: Obj | None) -> list[Write]:
    """A Service stays as it is, once it is there: it has been allocated more."""
    if existing is None:
        return [Create(obj)]
    parts = [part for part in ("subsets", "endpoints", "ports") if part in obj and obj["kind"] != "Service"]
    if all(existing.get(part) == obj[part] for part in parts):
        return []
    return [Update({**existing, **{part: obj[part] for part in parts}})]


def wanted(endpoints: Sequence[tuple[str, int]], cidrs: Sequence[str]) -> list[Obj]:
    """The Service, with the first address of the first range in `cidrs`; its Endpoints; its slice."""
    port = endpoints[0][1]
    addresses = [address for address, _ in endpoints]
    spec = {
        "clusterIP": str(ip_network(cidrs[0])[1]),
        "ports": [{"name": _PORT, "port": 443, "protocol": "TCP", "targetPort": port}],
    }
    own = {"name": _PORT, "port": port, "protocol": "TCP"}
    ready = [{"addresses": [address], "conditions": {"ready": True}} for address in addresses]
    labels = {"component": "apiserver", "provider": "kubernetes"}
    version = "IPv6" if ":" in addresses[0] else "IPv4"
    return [
        _object("v1", "Service", labels) | {"spec": spec},
        _object("v1", "Endpoints", {"endpointslice.kubernetes.io/skip-mirror": "true"})
        | {"subsets": [{"addresses": [{"ip": address} for address in addresses], "ports": [own]}]},
        _object("discovery.k8s.io/v1", "EndpointSlice", {SERVICE_LABEL: "kubernetes"})
        | {"addressType": version, "endpoints": ready, "ports": [own]},
    ]


def _object(version: str, kind: str, labels: dict[str, str]) -> Obj:
    meta = {"name": "kubernetes", "namespace": "default", "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": meta}
