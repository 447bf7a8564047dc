"""Session affinity: a dynamic set of clients for each backend of a service port, as kube-proxy has it.

With a set for each backend, not a map for each service, a removed backend's clients are removed in the same
transaction, and a backend that stays keeps its clients (nftables/proxier.go, writeServiceToEndpointRules).
"""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from ...ir.model import Backend, Policy, PoolKind, ResolvedPort, Verdict
from ...ir.node import Settings
from ...program import Key
from .detect import HOST_SOURCE, from_pods, not_from_pods
from .resources import Chain, ChainKey, Map, MapKey, Rule
from .shapes import mark_rule

__all__ = ["affinity_chain", "name_hash"]


def name_hash(*parts: str) -> str:
    """Twelve characters that stand for `parts` in chain and set names."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return base64.b32encode(digest)[:12].decode().lower()


def affinity_chain(
    program: dict[Key, Any], port: ResolvedPort, policy: Policy, family: str, settings: Settings
) -> str:
    """Add the chains of `port` (entry, pools, backends) to `program`; returns the entry chain for frontends
    of `policy`.
    """
    own = name_hash(port.name, port.protocol.value)
    pods, host, others = policy.pods, policy.host, policy.others
    rules: list[Rule] = []

    def pool(kind: PoolKind) -> str:
        return _pool_chain(program, port, kind, family, own)

    if policy.one_pool:
        if others.masquerade:
            match = "" if pods.masquerade else not_from_pods(settings.detector, family)
            why = "masquerade" if pods.masquerade else "masquerade all but local pods"
            rules.append(mark_rule(settings, match, why))
        rules.append(Rule.make(f"goto {pool(others.pool)}", "every client"))
    else:
        match = from_pods(settings.detector, family)
        if match and pods.verdict is Verdict.DNAT and pods != others:
            rules.append(Rule.make(f"{match} goto {pool(pods.pool)}", "local pods"))
        rules.append(mark_rule(settings, HOST_SOURCE, "masquerade the host"))
        rules.append(Rule.make(f"{HOST_SOURCE} goto {pool(host.pool)}", "the host"))
        if others.verdict is Verdict.DNAT:
            rules.append(Rule.make(f"goto {pool(others.pool)}", "outside clients"))
    name = f"affinity-{own}-{name_hash(*(r.text for r in rules))[:4]}"
    program.setdefault(ChainKey(family, name), Chain(tuple(rules)))
    return name


def _pool_chain(program: dict[Key, Any], port: ResolvedPort, kind: PoolKind, family: str, own: str) -> str:
    name = f"affinity-{own}-{kind.value}"
    key = ChainKey(family, name)
    if key in program:
        return name
    backends = port.pool(kind)
    targets = [_backend_chain(program, port, b, family, own) for b in backends]
    rules = [Rule.make(f"{family} saddr @{t}-clients goto {t}", "seen before") for t in targets]
    slots = ", ".join(f"{i} : goto {t}" for i, t in enumerate(targets))
    rules.append(Rule.make(f"numgen random mod {len(targets)} vmap {{ {slots} }}", f"one of {len(targets)}"))
    program[key] = Chain(tuple(rules))
    return name


def _backend_chain(
    program: dict[Key, Any], port: ResolvedPort, backend: Backend, family: str, own: str
) -> str:
    # The timeout is part of the name, for a set's timeout can't be changed.
    name = f"affinity-{own}-{name_hash(backend.ip, str(backend.port), str(port.affinity_seconds))[:8]}"
    address = f"[{backend.ip}]" if family == "ip6" else backend.ip
    clients = f"{name}-clients"
    address_type = "ipv6_addr" if family == "ip6" else "ipv4_addr"
    program[MapKey(family, clients)] = Map((address_type,), timeout=port.affinity_seconds)
    program[ChainKey(family, name)] = Chain(
        (
            Rule.make(f"update @{clients} {{ {family} saddr }}", "remember the client"),
            Rule.make(
                f"meta l4proto {port.protocol.lower} dnat to {address}:{backend.port}",
                f"to {address}:{backend.port}",
            ),
        )
    )
    return name
