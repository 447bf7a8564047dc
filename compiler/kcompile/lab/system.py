"""The objects of kube-system in every lab: the name server and its Service. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..spec.cluster import ClusterSettings

__all__ = ["DNS", "range_options", "system_objects"]

DNS = "kube-system/coredns"
"""The Deployment's name is CoreDNS's in every cluster, and so it is here; what runs is ``kcompile dns
serve``.
"""
_LABELS = {"k8s-app": "kube-dns"}
_CLUSTER_FILES = ["-f", "/cluster/cluster.json", "--state", "/cluster/none.json"]


def range_options(cluster: ClusterSettings) -> list[str]:
    """The options that give another kcompile the Service ranges of `cluster`."""
    low, high = cluster.node_port_range
    return [
        "--service-cluster-ip-range",
        ",".join(cluster.service_cidrs),
        "--service-node-port-range",
        f"{low}-{high}",
    ]


def system_objects(
    folder: str, cluster: ClusterSettings, addresses: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """The manifests of kube-system. `folder`: the one with cluster.json; `addresses`: the Service's."""
    families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
    wildcards = ["::" if family == "IPv6" else "0.0.0.0" for family in families]
    listen = [word for wildcard in wildcards for word in ("--listen", wildcard)]
    container = {
        "name": "dns",
        "image": "kcompile/dns",
        "args": [*_CLUSTER_FILES, "--cluster-domain", cluster.domain, *range_options(cluster), *listen],
        "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
        "volumeMounts": [{"name": "cluster", "mountPath": "/cluster", "readOnly": True}],
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {
                "metadata": {"labels": _LABELS},
                "spec": {
                    "containers": [container],
                    "volumes": [{"name": "cluster", "hostPath": {"path": folder}}],
                },
            },
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {
            "clusterIP": addresses[0],
            "clusterIPs": list(addresses),
            "ipFamilies": families,
            "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack",
            "selector": _LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    }
