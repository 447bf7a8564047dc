"""Endpoint selection: ready endpoints; if there are none, those that are terminating but still serve.

Cluster and Local traffic decide apart (pkg/proxy/topology.go, CategorizeEndpoints): a node whose only local
endpoint is terminating still serves Local traffic with it while the cluster has ready ones elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.model import Endpoint

__all__ = ["usable"]


def usable(endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
    """The ready ones of `endpoints`, else the serving and terminating ones, else none."""
    ready = [e for e in endpoints if e.ready]
    if ready:
        return ready
    return [e for e in endpoints if e.serving and e.terminating]
