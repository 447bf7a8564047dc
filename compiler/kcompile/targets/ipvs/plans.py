"""A Policy in mode ipvs: the pool of the address's own virtual server, and the pool of insiders."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from ...ir.model import Policy, PoolKind, Verdict

__all__ = ["Plan", "plan_of"]


class Plan(NamedTuple):
    """`outside`: the pool of everybody, or of all but insiders; None where they get `verdict` instead (REJECT
    or DROP).

    `inside`: the pool of local pods and of the host, where it is another one; the host is masqueraded on the
    way, pods aren't. `masquerade`: the set that says who else is, empty for nobody.
    """

    outside: PoolKind | None
    verdict: Verdict
    inside: PoolKind | None
    masquerade: str


@lru_cache(maxsize=256)
def plan_of(policy: Policy, has_pods: bool) -> Plan:
    """`has_pods`: the node's detector can tell pods in this family."""
    pods, host, others = (policy.pods if has_pods else policy.others), policy.host, policy.others
    outside = others.pool if others.verdict is Verdict.DNAT else None
    inside = host.pool if host.verdict is Verdict.DNAT and host.pool is not outside else None
    masquerade = ""
    if outside is not None and others.masquerade:
        masquerade = "MASQUERADE" if inside is not None or pods.masquerade else "OUTSIDE"
    return Plan(outside, others.verdict, inside, masquerade)
