"""The objects that every lab begins with: ServiceCIDRs, Nodes, and the name server in kube-system. Pure."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .settings import LabSettings, NodeSettings

__all__ = ["NAME_SERVER", "OWN", "system_objects"]

NAME_SERVER = ("Deployment", "kube-system", "coredns")
"""CoreDNS's name in every cluster, and so it is here; what runs is ``kcompile dns serve``."""
OWN = {NAME_SERVER, ("Service", "kube-system", "kube-dns")}
"""What a lab doesn't work without."""

_LABELS = {"k8s-app": "kube-dns"}
_READY_PORT = 8181  # CoreDNS's for its plugin ready


def system_objects(settings: LabSettings, account: Path, now: str) -> Iterator[dict[str, Any]]:
    """The manifests. `account`: the folder with the kubeconfig that the name server uses; `now`: RFC 3339."""
    yield {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": settings.service_cidrs},
        "status": {"conditions": [_condition("Ready", "", "Kubernetes Service CIDR is ready", now)]},
    }
    for node in settings.nodes:
        yield _node(node, now)
    yield _deployment(settings, account)
    yield _service(settings)


def _node(node: NodeSettings, now: str) -> dict[str, Any]:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    labels = {"kubernetes.io/os": "linux", "kubernetes.io/arch": machine, "kubernetes.io/hostname": node.name}
    addresses = [{"type": "InternalIP", "address": ip} for ip in node.ips]
    size = {"cpu": "4", "memory": "8Gi", "pods": "250", "ephemeral-storage": "100Gi"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels | node.labels},
        "spec": {"podCIDR": node.pod_cidrs[0], "podCIDRs": node.pod_cidrs},
        "status": {
            "addresses": [*addresses, {"type": "Hostname", "address": node.name}],
            "capacity": size,
            "allocatable": size,
            "conditions": [_condition("Ready", "KubeletReady", "kcompile's kubelet is ready", now)],
            "nodeInfo": {
                "kernelVersion": platform.release(),
                "osImage": "this machine's root",
                "containerRuntimeVersion": "kcompile://1",
                "kubeletVersion": "v1.36.2+kcompile",
                "operatingSystem": "linux",
                "architecture": machine,
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
                "kubeProxyVersion": "",
            },
        },
    }


def _condition(kind: str, reason: str, message: str, now: str) -> dict[str, Any]:
    return {
        "type": kind,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }


def _deployment(settings: LabSettings, account: Path) -> dict[str, Any]:
    listen = ["--listen", "0.0.0.0", *(["--listen", "::"] if settings.dual_stack else [])]
    ready = f"0.0.0.0:{_READY_PORT}"
    container = {
        "name": "coredns",
        "image": "kcompile/dns",
        "args": [
            *("--kubeconfig", "/account/kubeconfig", "--cluster-domain", settings.domain, *listen),
            *("--metrics-bind-address", ready),
        ],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": _READY_PORT}, "periodSeconds": 1},
        "volumeMounts": [{"name": "account", "mountPath": "/account", "readOnly": True}],
    }
    spec = {
        "terminationGracePeriodSeconds": 2,
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}],
        "containers": [container],
        "volumes": [{"name": "account", "hostPath": {"path": str(account)}}],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME_SERVER[2], "namespace": "kube-system", "labels": _LABELS},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": _LABELS},
            "template": {"metadata": {"labels": _LABELS}, "spec": spec},
        },
    }


def _service(settings: LabSettings) -> dict[str, Any]:
    addresses = settings.name_servers
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": _LABELS | {"kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": addresses[0],
            "clusterIPs": addresses,
            "ipFamilies": ["IPv6" if ":" in address else "IPv4" for address in addresses],
            "ipFamilyPolicy": "RequireDualStack" if len(addresses) > 1 else "SingleStack",
            "selector": _LABELS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
            ],
        },
    }
