"""The columns of each kind, in a real server's order and with its priorities: 0 always, 1 with -o wide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import core, pods, workloads

__all__ = ["KINDS", "Columns"]


class Columns(NamedTuple):
    """`definitions`: TableColumnDefinitions. `cells`: what they hold for an object."""

    definitions: list[dict[str, Any]]
    cells: Callable[[dict[str, Any]], list[Any]]


def _columns(cells: Callable[[dict[str, Any]], list[Any]], names: str, wide: str = "") -> Columns:
    """Columns by their names, separated by ``|``; ``#`` in front of a name: integers."""
    definitions = [_definition(name, 0) for name in names.split("|")]
    definitions += [_definition(name, 1) for name in filter(None, wide.split("|"))]
    return Columns(definitions, cells)


def _definition(name: str, priority: int) -> dict[str, Any]:
    plain = name.removeprefix("#")
    kind = "string" if plain == name else "integer"
    shape = "name" if plain == "Name" else ""
    return {"name": plain, "type": kind, "format": shape, "description": "", "priority": priority}


_MADE_OF = "Containers|Images|Selector"
_EVENT = _columns(core.event, "Last Seen|Type|Reason|Object|Subobject|Source|Message|First Seen|Count|Name")
_WIDE = ("Subobject", "Source", "First Seen", "Count", "Name")

KINDS = {
    "Namespace": _columns(core.namespace, "Name|Status|Age"),
    "Node": _columns(
        core.node,
        "Name|Status|Roles|Age|Version",
        "Internal-IP|External-IP|OS-Image|Kernel-Version|Container-Runtime",
    ),
    "Pod": _columns(pods.pod, "Name|Ready|Status|Restarts|Age", "IP|Node|Nominated Node|Readiness Gates"),
    "Service": _columns(core.service, "Name|Type|Cluster-IP|External-IP|Port(s)|Age", "Selector"),
    "Endpoints": _columns(core.endpoints, "Name|Endpoints|Age"),
    "EndpointSlice": _columns(core.endpoint_slice, "Name|AddressType|Ports|Endpoints|Age"),
    "ConfigMap": _columns(core.config_map, "Name|Data|Age"),
    "Secret": _columns(core.secret, "Name|Type|Data|Age"),
    "ServiceAccount": _columns(core.service_account, "Name|Secrets|Age"),
    "ServiceCIDR": _columns(core.service_cidr, "Name|CIDRs|Age"),
    "Event": Columns(
        [each | {"priority": int(each["name"] in _WIDE)} for each in _EVENT.definitions], core.event
    ),
    "ControllerRevision": _columns(core.revision, "Name|Controller|Revision|Age"),
    "Deployment": _columns(workloads.deployment, "Name|Ready|Up-to-date|Available|Age", _MADE_OF),
    "ReplicaSet": _columns(workloads.replica_set, "Name|#Desired|#Current|#Ready|Age", _MADE_OF),
    "StatefulSet": _columns(workloads.stateful_set, "Name|Ready|Age", "Containers|Images"),
    "DaemonSet": _columns(
        workloads.daemon_set,
        "Name|#Desired|#Current|#Ready|#Up-to-date|#Available|Node Selector|Age",
        _MADE_OF,
    ),
    "Job": _columns(workloads.job, "Name|Status|Completions|Duration|Age", _MADE_OF),
}
