"""A Policy as short first-match lists for each table, without rule text.

A Policy has three classes of sources: local pods, the node itself, others. A rule can match "is a pod" and
"is the node", also negated, so that each class is one `Condition`. The list for nat marks packets and picks a
pool (kube-proxy's KUBE-EXT chains, pkg/proxy/iptables/proxier.go). The list for filter has the verdicts for
packets without DNAT.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import NamedTuple

from ...ir.model import Disposition, Policy, PoolKind, Verdict

__all__ = ["ALL", "Condition", "Judgement", "Nat", "Step", "judgements", "nat", "host_judgements"]


class Condition(NamedTuple):
    """Whether the source is a local pod, and the node; None: not asked."""

    pods: bool | None = None
    host: bool | None = None


ALL = Condition()


class Step(NamedTuple):
    """In nat: under `condition` set the masquerade mark (`mark`), go to `pool`, or return (neither)."""

    condition: Condition
    mark: bool = False
    pool: PoolKind | None = None


class Nat(NamedTuple):
    """`steps`, then the remaining packets go to pool `final` (None: return)."""

    steps: tuple[Step, ...]
    final: PoolKind | None


class Judgement(NamedTuple):
    """In filter: under `condition` a packet that no DNAT touched gets `verdict` (PASS: nothing)."""

    condition: Condition
    verdict: Verdict


class _Any(enum.Enum):
    ANY = "any"  # no packet of the class gets here, so any verdict will do


_LEAVE = Disposition(Verdict.PASS)


@lru_cache(maxsize=256)
def nat(policy: Policy, has_pods: bool) -> Nat:
    """What the nat table does. `has_pods`: the node's detector can tell pods in this family."""
    classes = [("pods", policy.pods)] if has_pods else []
    classes += [("host", policy.host), ("others", policy.others)]
    classes = [(name, d if d.verdict is Verdict.DNAT else _LEAVE) for name, d in classes]
    while len(classes) > 1 and classes[-2][1] == classes[-1][1]:
        del classes[-2]
    final = _pool(classes[-1][1])
    start = len(classes) - 1
    while start > 0 and final is not None and _pool(classes[start - 1][1]) is final:
        start -= 1
    steps: list[Step] = []
    for name, d in classes[:start]:
        condition = Condition(pods=True) if name == "pods" else Condition(host=True)
        if d.masquerade:
            steps.append(Step(condition, mark=True))
        steps.append(Step(condition, pool=_pool(d)))
    return Nat((*steps, *_marks(classes[start:])), final)


def _pool(d: Disposition) -> PoolKind | None:
    return d.pool if d.verdict is Verdict.DNAT else None


def _marks(classes: list[tuple[str, Disposition]]) -> list[Step]:
    """The marks of classes that all end in the same pool: one step a marked class, each with its exact
    condition.
    """
    if all(d.masquerade for _, d in classes):
        return [Step(ALL, mark=True)]
    present = [name for name, _ in classes]
    steps = []
    for name, d in classes:
        if d.masquerade:
            pods = name == "pods" if "pods" in present else None
            host = None if name == "pods" or "host" not in present else name == "host"
            steps.append(Step(Condition(pods, host), mark=True))
    return steps


@lru_cache(maxsize=256)
def judgements(policy: Policy, has_pods: bool, is_node_port: bool) -> tuple[Judgement, ...]:
    """The verdicts of INPUT and FORWARD for packets that nat did not DNAT.

    The node's own packet to a VIP may PASS where others may not: then OUTPUT has no rule, and none is needed
    here (kube-proxy's iptables mode handles external addresses here only). The node's own packet to a
    NodePort arrives on loopback, so it is handled here.
    """
    host = _Any.ANY if policy.host.verdict is Verdict.PASS and not is_node_port else _left(policy.host)
    pods = [(Condition(pods=True), _left(policy.pods))] if has_pods else []
    return _fold([*pods, (Condition(host=True), host), (ALL, _left(policy.others))])


@lru_cache(maxsize=256)
def host_judgements(policy: Policy) -> tuple[Judgement, ...]:
    """The verdicts of OUTPUT, where every source is the node."""
    return _fold([(ALL, _left(policy.host))])


def _left(d: Disposition) -> Verdict | _Any:
    return _Any.ANY if d.verdict is Verdict.DNAT else d.verdict


def _fold(classes: list[tuple[Condition, Verdict | _Any]]) -> tuple[Judgement, ...]:
    """The shortest first-match list for the classes with a verdict."""
    known = [(condition, verdict) for condition, verdict in classes if isinstance(verdict, Verdict)]
    if not known:
        return ()
    *others, (_, last) = known
    while others and others[-1][1] is last:
        others.pop()
    return (*(Judgement(condition, verdict) for condition, verdict in others), Judgement(ALL, last))
