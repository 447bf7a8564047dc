"""Topology hints: prefer endpoints meant for this node, then for this zone (pkg/proxy/topology.go,
topologyModeFromHints).

A hint only counts when every ready endpoint carries one of its sort and at least one names this node (or
zone); hints of endpoints that aren't ready neither enable nor veto it. trafficDistribution itself is read by
the controller, not here.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.model import Endpoint

__all__ = ["prefer_close"]


def prefer_close(ready: Sequence[Endpoint], node: str, zone: str) -> Sequence[Endpoint]:
    """The part of the `ready` endpoints that Cluster traffic of a node named `node` in `zone` uses."""
    if node and all(e.node_hints for e in ready):
        mine = [e for e in ready if node in e.node_hints]
        if mine:
            return mine
    if zone and all(e.zone_hints for e in ready):
        near = [e for e in ready if zone in e.zone_hints]
        if near:
            return near
    return ready
