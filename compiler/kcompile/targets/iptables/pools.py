"""Pools of backends: a chain that picks one at random and does DNAT; with affinity, a chain for each backend.

kube-proxy gives every endpoint a chain (KUBE-SEP), to mark hairpin packets; here POSTROUTING does that.
So only session affinity needs one, to set the client's entry for its next connection
(writeServiceToEndpointRules, pkg/proxy/iptables/proxier.go).
"""

from __future__ import annotations

from functools import lru_cache

from ...ir.model import Backend, PoolKind, ResolvedPort
from .context import Chains, Context
from .names import chain, digest
from .rules import Recent, probability

__all__ = ["LISTS", "inline_rules", "pool_name", "pool_rules"]

LISTS = "KC-"  # /proc/net/xt_recent/KC-...
_LABELS = {PoolKind.CLUSTER: "SVC", PoolKind.LOCAL: "SVL"}


def pool_name(kind: PoolKind, ident: str) -> str:
    """The chain of a port's pool; `ident` is the digest of the port's name and protocol, so backends don't
    rename it.
    """
    return chain(_LABELS[kind], ident)


@lru_cache(maxsize=1024)
def _odds(n: int) -> tuple[str, ...]:
    """The match that makes each of `n` rules in a row equally likely: 1/n, 1/(n-1), ... and always."""
    return (*(f"-m statistic --mode random --probability {probability(n - i)} " for i in range(n - 1)), "")


def _chances(n: int, match: str) -> list[str]:
    return [f"{match}{odds}" for odds in _odds(n)]


def pool_rules(context: Context, port: ResolvedPort, kind: PoolKind, chains: Chains) -> list[str]:
    """The rules of a pool's chain; with affinity, adds a chain for each backend to `chains`."""
    backends = port.pool(kind)
    if port.affinity_seconds:
        return _sticky(context, port, backends, chains)
    if not backends:
        return []
    chances = _chances(len(backends), f"-p {port.protocol.lower} ")
    if context.spelling.version == 4:
        return [
            f"{chance}-j DNAT --to-destination {backend.ip}:{backend.port}"
            for chance, backend in zip(chances, backends, strict=True)
        ]
    destination = context.spelling.destination
    return [
        f"{chance}-j DNAT --to-destination {destination(b.ip, b.port)}"
        for chance, b in zip(chances, backends, strict=True)
    ]


def inline_rules(context: Context, backends: tuple[Backend, ...], match: str, tail: str) -> tuple[str, ...]:
    """`pool_rules` without a chain: each rule asks for the frontend by `match`, and the last has the comment
    `tail`.
    """
    destination = context.spelling.destination
    *odds, _ = _odds(len(backends))
    return tuple(
        f"{match}{odd}-j DNAT --to-destination {destination(backend.ip, backend.port)}"
        for odd, backend in zip((*odds, tail), backends, strict=True)
    )


def _sticky(context: Context, port: ResolvedPort, backends: tuple[Backend, ...], chains: Chains) -> list[str]:
    """An xt_recent list for each backend: first the one with a fresh entry, else one at random."""
    proto, mask = port.protocol.lower, context.spelling.recent_mask
    chances = _chances(len(backends), "") if backends else ()
    asked, chosen = [], []
    for chance, backend in zip(chances, backends, strict=True):
        destination = context.spelling.destination(backend.ip, backend.port)
        ident = digest(f"{port.name}/{proto}/{destination}")
        name = chain("SEP", ident)
        chains[name] = (f"-p {proto} {Recent(LISTS + ident, mask)}-j DNAT --to-destination {destination}",)
        asked.append(f"{Recent(LISTS + ident, mask, port.affinity_seconds)}-g {name}")
        chosen.append(f"{chance}-g {name}")
    return asked + chosen
