"""Whether a Pod may go to a node: the filters of the scheduler, pure.

pkg/scheduler/framework/plugins: nodeunschedulable, tainttoleration, nodeaffinity, nodeports.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ...apiserver.selectors import Matcher
from ..client import Obj
from .labels import requirements

__all__ = ["PORTS_TAKEN", "HostPort", "host_ports", "matches_node", "tolerated_by", "tolerates", "unfit"]

PORTS_TAKEN = "node(s) didn't have free ports for the requested pod ports"
_UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
_ANY = frozenset(("", "0.0.0.0"))


class HostPort(NamedTuple):
    ip: str
    protocol: str
    port: int

    def clashes(self, other: HostPort) -> bool:
        same = (self.protocol, self.port) == (other.protocol, other.port)
        return same and (self.ip == other.ip or bool(_ANY & {self.ip, other.ip}))


def host_ports(pod: Obj) -> list[HostPort]:
    """The ports of the node that a Pod wants."""
    found = []
    for container in pod["spec"]["containers"]:
        wanted = [port for port in container.get("ports") or () if port.get("hostPort")]
        found += [_host_port(port) for port in wanted]
    return found


def _host_port(port: Mapping[str, Any]) -> HostPort:
    return HostPort(port.get("hostIP", ""), port.get("protocol", "TCP"), port["hostPort"])


def unfit(pod: Obj, node: Obj, taken: Iterable[HostPort]) -> str:
    """Why the Pod can't go to the node, in the scheduler's words; empty if it can.

    `taken`: the host ports of the Pods that are there.
    """
    tolerations = pod["spec"].get("tolerations") or ()
    spec = node.get("spec") or {}
    if spec.get("unschedulable") and not _tolerated(_UNSCHEDULABLE, tolerations):
        return "node(s) were unschedulable"
    if not tolerates(pod, node, ("NoSchedule", "NoExecute")):
        return "node(s) had untolerated taint(s)"
    if not matches_node(pod["spec"], node):
        return "node(s) didn't match Pod's node affinity/selector"
    return PORTS_TAKEN if _has_clash(pod, list(taken)) else ""


def _has_clash(pod: Obj, taken: Sequence[HostPort]) -> bool:
    return bool(taken) and any(own.clashes(other) for own in host_ports(pod) for other in taken)


def tolerates(pod: Obj, node: Obj, effects: Iterable[str]) -> bool:
    """True if the Pod tolerates every taint of the node with one of these effects."""
    taints = (node.get("spec") or {}).get("taints") or ()
    tolerations = pod["spec"].get("tolerations") or ()
    return all(_tolerated(taint, tolerations) for taint in taints if taint["effect"] in effects)


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(tolerated_by(taint, each) for each in tolerations)


def tolerated_by(taint: Mapping[str, Any], toleration: Mapping[str, Any]) -> bool:
    """Toleration.ToleratesTaint of core/v1."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def matches_node(spec: Mapping[str, Any], node: Obj) -> bool:
    """nodeSelector and the required node affinity of a Pod's spec (GetRequiredNodeAffinity)."""
    labels = node["metadata"].get("labels") or {}
    if not (spec.get("nodeSelector") or {}).items() <= labels.items():
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(_term(each, labels, fields) for each in required.get("nodeSelectorTerms") or ())


def _term(term: Mapping[str, Any], labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """All of a term; an empty one matches nothing."""
    on_labels, on_fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not on_labels and not on_fields:
        return False
    of_labels, of_fields = (Matcher(tuple(requirements(each))) for each in (on_labels, on_fields))
    return of_labels.matches(labels) and of_fields.matches(fields)
