"""The files of a pod's containers that the kubelet writes: hosts, hostname, resolv.conf. Pure.

pkg/kubelet/kubelet_pods.go (hosts), pkg/kubelet/network/dns (resolv.conf).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["hostname", "hosts", "pod_files", "resolv_conf"]

_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_MAX_HOSTNAME = 63


def hostname(pod: Mapping[str, Any], node: str) -> str:
    """The host name of a pod: its node's with hostNetwork."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        return node
    return str(spec.get("hostname") or pod["metadata"]["name"])[:_MAX_HOSTNAME].rstrip("-.")


def hosts(pod: Mapping[str, Any], ips: Iterable[str], node: str, domain: str) -> str:
    """The text of /etc/hosts."""
    spec, name = pod["spec"], hostname(pod, node)
    names = [name]
    if spec.get("subdomain"):
        names.insert(0, f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{domain}")
    lines = "".join(f"{ip}\t{chr(9).join(names)}\n" for ip in ips)
    aliases = spec.get("hostAliases") or ()
    entries = [f"{alias['ip']}\t{chr(9).join(alias.get('hostnames') or ())}\n" for alias in aliases]
    own = "\n# Entries added by HostAliases.\n" if entries else ""
    return _HEAD + lines + own + "".join(entries)


def resolv_conf(pod: Mapping[str, Any], servers: Sequence[str], domain: str, of_host: str) -> str:
    """The text of /etc/resolv.conf; `servers`: the cluster's; `of_host`: this machine's file."""
    spec = pod["spec"]
    policy = spec.get("dnsPolicy") or "ClusterFirst"
    if policy == "Default" or (policy == "ClusterFirst" and spec.get("hostNetwork")):
        found, searches, options = _parsed(of_host)
    elif policy == "None":
        found, searches, options = [], [], {}
    else:
        namespace = pod["metadata"]["namespace"]
        found, options = list(servers), {"ndots": "5"}
        searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
    config = spec.get("dnsConfig") or {}
    found += config.get("nameservers") or ()
    searches += config.get("searches") or ()
    options |= {each["name"]: each.get("value") or "" for each in config.get("options") or ()}
    search = f"search {' '.join(dict.fromkeys(searches))}\n" if searches else ""
    words = [f"{name}:{value}" if value else name for name, value in options.items()]
    last = f"options {' '.join(words)}\n" if words else ""
    return search + "".join(f"nameserver {each}\n" for each in dict.fromkeys(found)) + last


def _parsed(text: str) -> tuple[list[str], list[str], dict[str, str]]:
    """Name servers, search domains and options of a resolv.conf."""
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "nameserver" and rest:
            servers.append(rest[0])
        elif word == "search":
            searches = rest
        elif word == "options":
            options |= {name: value for name, _, value in (each.partition(":") for each in rest)}
    return servers, searches, options


def pod_files(
    pod: Mapping[str, Any], ips: Sequence[str], node: str, servers: Sequence[str], domain: str, of_host: str
) -> dict[str, str]:
    """The files of every container of the pod, by path."""
    return {
        "/etc/hosts": hosts(pod, ips, node, domain),
        "/etc/hostname": f"{hostname(pod, node)}\n",
        "/etc/resolv.conf": resolv_conf(pod, servers, domain, of_host),
    }
