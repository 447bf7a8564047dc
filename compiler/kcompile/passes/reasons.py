"""Why an endpoint is used, or isn't: the decisions of the other passes in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.model import Endpoint, ResolvedPort
from .endpoints import usable
from .topology import prefer_close

__all__ = ["reason_unused"]


def reason_unused(
    endpoint: Endpoint, endpoints: Sequence[Endpoint], port: ResolvedPort, node: str, zone: str
) -> str:
    """Why no new connection on node `node` in `zone` goes to `endpoint`, one of `endpoints`; empty where one
    may.

    `port` is what the endpoints' ServicePort was resolved to.
    """
    place = (endpoint.ip, endpoint.port)
    if any((backend.ip, backend.port) == place for backend in (*port.cluster, *port.local)):
        return ""
    candidates = usable(endpoints)
    if endpoint not in candidates:
        return _unready(endpoint)
    if not port.cluster:
        return f"policy Local: it runs on {endpoint.node or 'an unknown node'}, not on this node"
    near = prefer_close(candidates, node, zone)
    if endpoint not in near:
        if node and any(node in other.node_hints for other in near):
            return f"its hints name other nodes ({', '.join(endpoint.node_hints)}); this is {node}"
        return f"its hints name other zones ({', '.join(endpoint.zone_hints)}); this node is in {zone}"
    return "no frontend uses it"


def _unready(endpoint: Endpoint) -> str:
    if endpoint.terminating:
        return "terminating" if endpoint.serving else "terminating, and serves no more"
    return "not ready"
