"""The scheduler: a node for each Pod that has none (pkg/scheduler).

Among the nodes that fit, the one with the fewest Pods of the same owner, then the one with the fewest Pods.
Resource requests, affinity between Pods and topologySpreadConstraints aren't looked at.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..client import Client, Key, Obj
from .fit import PORTS_TAKEN, host_ports, unfit
from .owners import controller_uid
from .pods import condition, is_ended, is_terminating, node_name, stamp, with_condition
from .writes import Bind, Tell, UpdateStatus, Write

__all__ = ["NAME", "Scheduler", "decide"]

NAME = "default-scheduler"


class Scheduler:
    name = NAME
    kinds = ("Pod", "Node")

    def __init__(self, client: Client) -> None:
        self._client = client

    def affected(self, kind: str, old: Obj | None, new: Obj | None) -> Iterable[Key]:
        if kind == "Pod" and new is not None and not (is_ended(new) and old is not None):
            waits = not new["spec"].get("nodeName")
            return [(new["metadata"]["namespace"], new["metadata"]["name"])] if waits else []
        waiting = self._client.find("Pod", node_name, "")
        return [(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in waiting]

    def decide(self, key: Key) -> list[Write]:
        pod = self._client.get("Pod", *key)
        if pod is None or not _is_ours(pod):
            return []
        nodes = {name: node for (_, name), node in self._client.objects("Node").items()}
        beside: Counter[str] = Counter()
        for uid in controller_uid(pod):
            family = self._client.find("Pod", controller_uid, uid)
            beside.update(each["spec"].get("nodeName", "") for each in family if not is_terminating(each))
        on_nodes = {name: self._client.find("Pod", node_name, name) for name in nodes}
        return decide(pod, nodes, on_nodes, beside, time.time())


def _is_ours(pod: Obj) -> bool:
    spec = pod["spec"]
    if spec.get("nodeName") or spec.get("schedulingGates") or is_terminating(pod) or is_ended(pod):
        return False
    return bool(spec.get("schedulerName", NAME) == NAME)


def decide(
    pod: Obj,
    nodes: Mapping[str, Obj],
    on_nodes: Mapping[str, Sequence[Obj]],
    beside: Mapping[str, int],
    now: float,
) -> list[Write]:
    """The binding of `pod`, or why there is none.

    `on_nodes`: the Pods of each node; `beside`: how many of the same owner each has.
    """
    wants_ports = bool(host_ports(pod))
    reasons: Counter[str] = Counter()
    fitting: list[tuple[int, int, str]] = []
    for name, node in nodes.items():
        alive = [each for each in on_nodes[name] if not is_ended(each)] if wants_ports else ()
        taken = [port for each in alive for port in host_ports(each)]
        if reason := unfit(pod, node, taken):
            reasons[reason] += 1
        else:
            fitting.append((beside.get(name, 0), len(on_nodes[name]), name))
    if not fitting:
        return _failed(pod, reasons, now)
    node_chosen = min(fitting)[2]
    where = "/".join((pod["metadata"]["namespace"], pod["metadata"]["name"]))
    told = Tell(pod, "Normal", "Scheduled", f"Successfully assigned {where} to {node_chosen}")
    return [Bind(pod, node_chosen), told]


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
