"""The scheduler: a node for each Pod that has none (pkg/scheduler).

Among the nodes that fit, the one with the fewest Pods of the same owner, then the one with the fewest Pods.
Preferences of a Pod and its resource requests aren't looked at.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..client import Client, Key, Obj
from .fit import PORTS_TAKEN, HostPort, host_ports, unfit
from .neighbours import has_rules, misplaced, repels
from .owners import controller_uid
from .pods import condition, is_active, is_ended, is_terminating, node_name, stamp, with_condition
from .writes import Bind, Tell, UpdateStatus, Write

__all__ = ["NAME", "Place", "Scheduler", "decide"]

NAME = "default-scheduler"


class Scheduler:
    name = NAME
    kinds = ("Pod", "Node")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "Pod" and new is not None and not new["spec"].get("nodeName"):
            return [(new["metadata"]["namespace"], new["metadata"]["name"])]
        if kind == "Pod" and old is not None and new is not None and not _makes_way(old, new):
            return []
        waiting = self._client.find("Pod", _unplaced, "yes")
        return [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in waiting]

    def decide(self, key: Key) -> list[Write]:
        pod = self._client.get("Pod", *key)
        if pod is None or not _is_ours(pod):
            return []
        nodes = {name: node for (_, name), node in self._client.objects("Node").items()}
        owner = next(iter(controller_uid(pod)), None)
        wants_ports = bool(host_ports(pod))
        away = self._away(pod, nodes)
        places = {}
        for name, node in nodes.items():
            taken = self._taken(name) if wants_ports else []
            beside = 0 if owner is None else self._client.count("Pod", _beside, f"{owner}@{name}")
            count = self._client.count("Pod", node_name, name)
            places[name] = Place(node, taken, beside, count, away.get(name, ""))
        return decide(pod, places, time.time())

    def _away(self, pod: Obj, nodes: Mapping[str, Obj]) -> dict[str, str]:
        """The nodes that rules between Pods forbid; such rules are rare, and costly to look at."""
        if not has_rules(pod) and not self._client.count("Pod", repels, "yes"):
            return {}
        labels = {name: node["metadata"].get("labels") or {} for name, node in nodes.items()}
        others = [each for name in nodes for each in self._client.find("Pod", node_name, name)]
        return misplaced(pod, labels, [each for each in others if is_active(each)])

    def _taken(self, node: str) -> list[HostPort]:
        """The host ports that Pods of the node have."""
        alive = [each for each in self._client.find("Pod", node_name, node) if not is_ended(each)]
        return [port for each in alive for port in host_ports(each)]


def _makes_way(old: Obj, new: Obj) -> bool:
    """Whether a change of a Pod may let others go to a node: it has one now, or it has ended."""
    return is_ended(old) != is_ended(new) or old["spec"].get("nodeName") != new["spec"].get("nodeName")


def _unplaced(pod: Obj) -> Iterable[str]:
    """An index: ``yes`` for a Pod that fitted nowhere."""
    tried = condition(pod, "PodScheduled")
    return ("yes",) if tried is not None and tried["status"] == "False" else ()


def _beside(pod: Obj) -> Iterable[str]:
    """An index: the owner of a Pod that stays, and its node."""
    node = pod["spec"].get("nodeName")
    return [f"{uid}@{node}" for uid in controller_uid(pod) if node and not is_terminating(pod)]


def _is_ours(pod: Obj) -> bool:
    spec = pod["spec"]
    if spec.get("nodeName") or spec.get("schedulingGates") or is_terminating(pod) or is_ended(pod):
        return False
    return bool(spec.get("schedulerName", NAME) == NAME)


class Place(NamedTuple):
    """A node, the host ports that are taken there, and how many Pods it has: of one's owner, and of all.

    `away`: why other Pods keep this one away, or empty.
    """

    node: Obj
    taken: list[HostPort]
    beside: int
    pods: int
    away: str = ""


def decide(pod: Obj, places: Mapping[str, Place], now: float) -> list[Write]:
    """The binding of `pod` to one of the nodes, or why there is none."""
    reasons: Counter[str] = Counter()
    fitting: list[tuple[int, int, str]] = []
    for name, place in places.items():
        if reason := unfit(pod, place.node, place.taken) or place.away:
            reasons[reason] += 1
        else:
            fitting.append((place.beside, place.pods, name))
    if not fitting:
        return _failed(pod, reasons, now)
    chosen = min(fitting)[2]
    where = "/".join((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    told = Tell(pod, "Normal", "Scheduled", f"Successfully assigned {where} to {chosen}")
    return [Bind(pod, chosen), told]


def _failed(pod: Obj, reasons: Mapping[str, int], now: float) -> list[Write]:
    """The condition PodScheduled=False, and an Event, where they don't say so yet."""
    message = _explained(reasons)
    before = condition(pod, "PodScheduled")
    if before is not None and before["status"] == "False" and before.get("message") == message:
        return []
    new = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    new["lastTransitionTime"] = before["lastTransitionTime"] if before else stamp(now)
    status = pod.get("status") or {}
    conditions = with_condition(status.get("conditions") or (), new)
    return [
        UpdateStatus({**pod, "status": {**status, "conditions": conditions}}),
        Tell(pod, "Warning", "FailedScheduling", message),
    ]


def _explained(reasons: Mapping[str, int]) -> str:
    """FitError.Error(), with what preemption would say to it."""
    total = sum(reasons.values())
    if not total:
        return "no nodes available to schedule pods"
    head = f"0/{total} nodes are available: "
    said = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    by_ports = reasons.get(PORTS_TAKEN, 0)
    helps = [f"{by_ports} No preemption victims found for incoming pod"] if by_ports else []
    if total > by_ports:
        helps.append(f"{total - by_ports} Preemption is not helpful for scheduling")
    return f"{head}{said}. preemption: {head}{', '.join(helps)}."
