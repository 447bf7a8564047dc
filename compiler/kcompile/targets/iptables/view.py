"""A Program, lowered or observed -> its frontends and their backends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...program import Program
from ..base import FrontendView
from ..xtables.keys import ChainKey
from .names import CHAIN_PREFIX
from .pools import LISTS
from .rules import Rule

__all__ = ["frontends"]

_VERDICTS = {"REJECT": "reject", "DROP": "drop"}
_DNAT = "--to-destination "
_Key = tuple[str, str, int, str, str, int]  # service, kind, family, protocol, address, port


def frontends(program: Program) -> list[FrontendView]:
    """Every frontend, sorted by service; one with rules in nat and in filter is shown by those in nat."""
    chains: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {}
    for key, value in program.items():
        if isinstance(key, ChainKey):
            chains.setdefault((key.family, key.table), {})[key.name] = value
    found: dict[_Key, FrontendView] = {}
    for (family, table), named in sorted(chains.items(), key=lambda item: (item[0][0], item[0][1] != "nat")):
        for service, kind, rule, listed in _leaves(named):
            assert rule.ports is not None
            address = rule.destination.partition("/")[0] or "*"
            version = int(family[2:])
            where = version, rule.protocol.upper(), address, rule.ports[0]
            name = service, kind, *where
            if name in found:
                continue
            if table == "nat":
                reached = listed or _reached(named, rule.target)
                backends = tuple(dict.fromkeys(r.rpartition(_DNAT)[2] for r in reached if _DNAT in r))
                found[name] = FrontendView(service, kind, *where, "dnat", backends, _affinity(reached))
            else:
                verdict = "drop" if rule.goto else _VERDICTS.get(rule.target, "pass")
                found[name] = FrontendView(service, kind, *where, verdict)
    return sorted(found.values(), key=lambda v: (v.service, v.family, v.kind, v.protocol, v.address, v.port))


def _leaves(chains: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str, Rule, list[str]]]:
    """The leaves of the trees: rules with the comment ``namespace/service:port Kind``.

    With the last rule of a pool that is listed in the tree itself come all its rules.
    """
    for rules in chains.values():
        listed: list[str] = []
        for text in rules:
            if _DNAT in text:
                listed.append(text)
            if "--comment" not in text:
                continue
            pool, listed = (listed, []) if _DNAT in text else ([], [])
            try:
                rule = Rule.parse(text)
            except ValueError:
                continue  # a rule of others in our chain; the plan shows it
            service, _, kind = rule.comment.rpartition(" ")
            if service and rule.ports and rule.target != "ACCEPT":
                yield service, kind, rule, pool


def _reached(chains: Mapping[str, tuple[str, ...]], start: str) -> list[str]:
    """The rules of every chain reachable from `start`; a chain's last target, for outsiders, comes first."""
    seen: set[str] = set()
    reached: list[str] = []

    def walk(name: str) -> None:
        if name in seen or name not in chains:
            return
        seen.add(name)
        rules = chains[name]
        nested = [rule.rpartition(f"-g {CHAIN_PREFIX}") for rule in rules]
        targets = [CHAIN_PREFIX + tail for _, mark, tail in nested if mark]
        sticky = f"{CHAIN_PREFIX}SEP-"
        reached.extend(rules)
        ordered = targets if targets and targets[-1].startswith(sticky) else [*targets[-1:], *targets[:-1]]
        for target in ordered:
            walk(target)

    walk(start)
    return reached


def _affinity(rules: list[str]) -> int:
    for rule in rules:
        if "--rcheck" in rule and f"--name {LISTS}" in rule:
            recent = Rule.parse(rule).recent
            return recent.seconds if recent else 0
    return 0
