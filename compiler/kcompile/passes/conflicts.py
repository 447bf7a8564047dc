"""Two Services may claim the same external address, port and protocol; the API allows it, a node can serve
only one.

A ClusterIP wins over an external address, and the first Service by name over the others: kube-proxy leaves it
to the order of its rules, which is not the same after every restart.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ..ir.model import Frontend, FrontendKind, ResolvedPort
from ..notices import Notice

__all__ = ["without_conflicts"]


def without_conflicts(ports: Sequence[ResolvedPort]) -> tuple[Sequence[ResolvedPort], list[Notice]]:
    """`ports` with each frontend in one port only, and a warning for each that was removed."""
    keys = [(f.address, f.port, p.protocol, p.family) for p in ports for f in p.frontends]
    if len(set(keys)) == len(keys):
        return ports, []
    owners: dict[object, str] = {}
    for cluster_ips in (True, False):
        for port in ports:
            for f in port.frontends:
                if (f.kind is FrontendKind.CLUSTER_IP) is cluster_ips:
                    owners.setdefault((f.address, f.port, port.protocol, port.family), port.name)
    notices: list[Notice] = []
    kept: list[ResolvedPort] = []
    for port in ports:
        mine: list[Frontend] = []
        for f in port.frontends:
            owner = owners[(f.address, f.port, port.protocol, port.family)]
            if owner == port.name:
                mine.append(f)
            else:
                where = f"{f.kind.value} {f.address} port {f.port}/{port.protocol.value}"
                text = f"{where} already belongs to {owner}; left to it"
                notices.append(Notice("frontend-taken", text, object=f"Service {port.name}"))
        kept.append(
            port if len(mine) == len(port.frontends) else msgspec.structs.replace(port, frontends=tuple(mine))
        )
    return kept, notices
