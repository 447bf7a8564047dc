"""The specs of a group, as an API server would give them: what generate.py makes, with NodePorts, a UDP port
and the two nodes.

Every tenth Service has a NodePort, and so have those that are asked for (cluster.service_of), which serve UDP
beside TCP.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..generate import PORT, TARGET_PORT, Scale, manifests
from ..shapes import PEERS, linear_node_ports
from .cluster import NODES, SITE, Site, node_port, service_of
from .scenario import POSITIONS, Group

__all__ = ["config_text", "linear_rules", "linear_without", "pods_of", "spec_text"]

_CONFIG = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: {}
"""

_EVERY = 10
_FIRST_OTHER = 30100


def _asked(group: Group) -> dict[int, int]:
    """The measured Services, with their NodePorts."""
    return {service_of(position, group): node_port(position) for position in POSITIONS}


def _node_ports(group: Group) -> dict[int, int]:
    others = {i: _FIRST_OTHER + i // _EVERY for i in range(0, group.services, _EVERY)}
    return {**others, **_asked(group)}


def config_text(site: Site = SITE) -> bytes:
    """The configuration of both nodes."""
    return _CONFIG.format(site.pod_cidr).encode()


def pods_of(group: Group, site: Site = SITE) -> list[str]:
    """The endpoints of the measured Services: the server has these addresses."""
    return list(dict.fromkeys(pod for service in _asked(group) for pod in site.pods(group, service)))


def _objects(group: Group, without: str, site: Site) -> Iterator[dict[str, Any]]:
    for role, name in NODES.items():
        addresses = [
            {"type": "InternalIP", "address": site.addresses[role]},
            {"type": "Hostname", "address": name},
        ]
        yield {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"addresses": addresses},
        }
    asked, ports = _asked(group), _node_ports(group)
    for number, item in enumerate(manifests(Scale(*group))):
        service = number // 2
        if item["kind"] == "Service" and service in ports:
            item["spec"] |= {"type": "NodePort", "externalTrafficPolicy": "Cluster"}
            item["spec"]["ports"][0]["nodePort"] = ports[service]
            if service in asked:
                item["spec"]["ports"].append(
                    {
                        "name": "udp",
                        "protocol": "UDP",
                        "port": PORT,
                        "targetPort": TARGET_PORT,
                        "nodePort": ports[service],
                    }
                )
        elif item["kind"] == "EndpointSlice":
            if service in asked:
                item["ports"].append({"name": "udp", "protocol": "UDP", "port": TARGET_PORT})
                for endpoint, address in zip(item["endpoints"], site.pods(group, service), strict=True):
                    endpoint |= {"addresses": [address], "nodeName": NODES["node-a"]}
            if without:
                item["endpoints"] = [e for e in item["endpoints"] if e["addresses"] != [without]]
        yield item


def spec_text(group: Group, without: str = "", site: Site = SITE) -> bytes:
    """One List in JSON; without the endpoint that has address `without`, if given."""
    return msgspec.json.encode(
        {"apiVersion": "v1", "kind": "List", "items": list(_objects(group, without, site))}
    )


def linear_rules(group: Group) -> str:
    """kube-proxy's linear list for the same Services, for ``iptables-legacy-restore --noflush``."""
    scale, asked = Scale(*group), _asked(group)
    return PEERS["iptables-legacy"].cold(scale) + linear_node_ports(scale, _node_ports(group), list(asked))


def linear_without(group: Group, pod: str) -> str:
    """kube-proxy's update once `pod`, an endpoint of one Service, is gone."""
    scale = Scale(*group)
    service = next(i for i in range(group.services) if pod in scale.pods(i))
    pods = scale.pods(service)
    return PEERS["iptables-legacy"].change(scale, service, pods, [p for p in pods if p != pod])
