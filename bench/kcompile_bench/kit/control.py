"""The control plane: how long until rules are in, start of the command to its end, and until the first
connection gets through.

cold     no rules -> all of them, on a fresh node
first    from the same start until a connection succeeds through the last VIP
change   one endpoint of the last Service gone
again    the same specs once more, nothing to do: the cost of a restart

kube-proxy's list (``linear``) is text made ahead of the clock: its own work to make it comes on top, and its
restart isn't measured.
"""

from __future__ import annotations

import json
import time
from typing import Any

from .cluster import Place, Site, service_of, target_of
from .drive import Server, finish
from .rules import Rules
from .scenario import Condition, Group
from .specs import pods_of

__all__ = ["FIGURES", "group_of", "measure"]

FIGURES = {
    "cold": "all rules, on a fresh node",
    "first": "until the first connection",
    "change": "one endpoint gone",
    "again": "nothing to do (restart)",
}
_PATIENCE = 300.0


def group_of(services: int, site: Site) -> Group:
    """The group whose rules are applied: two endpoints each, where the plan has that."""
    return Group(services, min(2, len(site.servers) or 2))


def measure(place: Place, mode: str, services: int) -> dict[str, Any]:
    """Seconds by name of FIGURES. Raises UnsupportedError where the mode is missing."""
    site = place.site
    group = group_of(services, site)
    target = target_of(Condition(mode, "pod-clusterip", "last"), group, site)
    gone = site.pods(group, service_of("last", group))[-1]
    with (
        Rules.of(mode, group) as rules,
        place.cluster(f"control-{mode}", pods_of(group, site)) as cluster,
        Server(cluster),
    ):
        rules.prepare(cluster, "node-a")
        wait = [
            cluster.driver(target.role),
            "wait",
            target.address,
            str(target.port),
            target.source,
            str(cluster.cpus[0]),
            str(_PATIENCE),
        ]
        waiting = cluster.start(target.role, wait)
        try:
            started = time.monotonic_ns()
            figures = {"cold": rules.apply(cluster, "node-a")}
        except BaseException:
            waiting.kill()
            waiting.communicate()
            raise
        reached = json.loads(finish(waiting, _PATIENCE + 10, "drive wait"))["at"]
        if reached:
            figures["first"] = (reached - started) / 1e9
        rules.prepare(cluster, "node-a", gone)
        figures["change"] = rules.apply(cluster, "node-a", without=gone)
        if mode != "linear":
            figures["again"] = rules.apply(cluster, "node-a", without=gone)
        if place.shared or rules.outlive:
            rules.remove(cluster)
    return {name: round(seconds, 4) for name, seconds in figures.items()}
