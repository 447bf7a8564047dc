"""Traffic policies, masquerading and what happens without endpoints: the Policy of each kind of frontend.

Sources are told apart as kube-proxy does: pods by the detector, the host by address type, others. A policy
depends on a handful of facts, so there are few distinct ones; they are made once and shared, and targets may
compare them by identity.
"""

from __future__ import annotations

from functools import cache

from ..ir.model import Disposition, FrontendKind, Policy, PoolKind, Verdict

__all__ = ["cluster_ip_policy", "external_policy", "rejecting_policy"]

_REJECT = Disposition(Verdict.REJECT)
_DROP = Disposition(Verdict.DROP)
_PASS = Disposition(Verdict.PASS)


def _dnat(pool: PoolKind, masquerade: bool) -> Disposition:
    return Disposition(Verdict.DNAT, pool, masquerade)


@cache
def rejecting_policy(kind: FrontendKind, reject_host: bool) -> Policy:
    """No endpoint anywhere: REJECT.

    `reject_host`: the node's own packets to external addresses as well (Compat).

    kube-proxy's iptables mode looks at external addresses in INPUT and FORWARD only, so the host's packet
    leaves the node. A NodePort is an address of the node: the host's packet comes in over loopback and is
    rejected in INPUT.
    """
    external_vip = kind in (FrontendKind.EXTERNAL_IP, FrontendKind.LOAD_BALANCER)
    return Policy(_REJECT, _PASS if external_vip and not reject_host else _REJECT, _REJECT)


@cache
def cluster_ip_policy(local_only: bool, has_local: bool, detects: bool, masquerade_all: bool) -> Policy:
    """ClusterIP: the Cluster pool, or with internalTrafficPolicy Local the Local one (none local, some
    elsewhere: DROP).

    Sources that aren't local pods are masqueraded, so that replies come back through this node; without a
    detector nobody is, and with masqueradeAll everybody.
    """
    if local_only and not has_local:
        return Policy(_DROP, _DROP, _DROP)
    pool = PoolKind.LOCAL if local_only else PoolKind.CLUSTER
    outside = _dnat(pool, masquerade_all or detects)
    return Policy(_dnat(pool, masquerade_all), outside, outside)


@cache
def external_policy(local_only: bool, has_local: bool, detects: bool) -> Policy:
    """NodePort, externalIP and load-balancer VIP.

    Cluster: the Cluster pool, always masqueraded. Local: outsiders reach local endpoints with their own
    address, or are dropped where there are none; local pods and the host are short-circuited to the Cluster
    pool (the host masqueraded).
    """
    if not local_only:
        everyone = _dnat(PoolKind.CLUSTER, True)
        return Policy(everyone, everyone, everyone)
    others = _dnat(PoolKind.LOCAL, False) if has_local else _DROP
    pods = _dnat(PoolKind.CLUSTER, False) if detects else others
    return Policy(pods, _dnat(PoolKind.CLUSTER, True), others)
