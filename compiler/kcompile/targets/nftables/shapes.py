"""The shared chains: services whose policy, protocol and pool sizes agree go through the same one.

A shape's rules name no service: they pick a random slot and look the backend up by the packet's own
destination. So the number of chains depends on how many different shapes there are, never on how many
services. Each protocol has chains and maps of its own.
"""

from __future__ import annotations

import msgspec

from ...ir.model import Policy, PoolKind, Verdict
from ...ir.node import Settings
from .detect import HOST_SOURCE, from_pods, not_from_pods
from .resources import Chain, Rule

__all__ = ["Shape", "mark_rule", "shape_of"]


class Shape(msgspec.Struct, frozen=True):
    """One shared chain.

    `outsiders` and `insiders` say which pool the two backend maps hold for its frontends, if any.
    """

    name: str
    chain: Chain
    outsiders: PoolKind | None
    insiders: PoolKind | None


def mark_rule(settings: Settings, match: str, why: str) -> Rule:
    """Mark for masquerading what `match` matches (everything when it is empty)."""
    return Rule.make(f"{match} meta mark set meta mark | {settings.masquerade_mark:#x}".strip(), why)


def shape_of(
    policy: Policy, sizes: dict[PoolKind, int], family: str, proto: str, node_port: bool, settings: Settings
) -> Shape:
    """The chain for `proto` frontends of `policy` whose pools have `sizes`; `node_port`: found by port alone,
    not by address.
    """
    prefix = f"{proto}-node-port-" if node_port else f"{proto}-"
    pods, host, others = policy.pods, policy.host, policy.others

    def dnat(kind: PoolKind, to: str, match: str, why: str) -> Rule:
        address = "" if node_port else f"{family} daddr . "
        lookup = f"{address}{proto} dport . numgen random mod {sizes[kind]} map @{prefix}{to}"
        return Rule.make(f"{match} dnat {family} to {lookup}".strip(), why)

    if policy.one_pool:
        count = sizes[others.pool]
        pick = dnat(others.pool, "backends", "", f"one of {count}")
        if not others.masquerade:
            return Shape(f"{prefix}plain-{count}", Chain((pick,)), others.pool, None)
        if pods.masquerade:
            mark = mark_rule(settings, "", "masquerade")
            return Shape(f"{prefix}masquerade-{count}", Chain((mark, pick)), others.pool, None)
        mark = mark_rule(settings, not_from_pods(settings.detector, family), "masquerade all but local pods")
        return Shape(f"{prefix}masquerade-outside-{count}", Chain((mark, pick)), others.pool, None)

    # externalTrafficPolicy Local: insiders (local pods, the host) are short-circuited to every endpoint.
    count = sizes[host.pool]
    rules: list[Rule] = []
    match = from_pods(settings.detector, family)
    detects = bool(match) and pods.verdict is Verdict.DNAT and pods != others
    if detects:
        rules.append(dnat(pods.pool, "insiders", match, f"local pods: one of {count}"))
    rules.append(mark_rule(settings, HOST_SOURCE, "masquerade the host"))
    rules.append(dnat(host.pool, "insiders", HOST_SOURCE, f"the host: one of {count}"))
    name = f"{prefix}local-{count}" if detects else f"{prefix}local-host-{count}"
    if others.verdict is not Verdict.DNAT:
        return Shape(f"{name}-none", Chain(tuple(rules)), None, host.pool)
    rules.append(dnat(others.pool, "backends", "", f"one of {sizes[others.pool]} on this node"))
    return Shape(f"{name}-{sizes[others.pool]}", Chain(tuple(rules)), others.pool, host.pool)
