"""What a Policy asks of each table, as short first-match lists: pure logic, no rule text.

A Policy speaks of three classes of source in order: local pods, the node itself, others. A rule can ask for
"is a pod" and "is the node", each positively or negatively, so that any class is one `Condition`. In nat the
list marks and picks a pool (kube-proxy's KUBE-EXT chains, pkg/proxy/iptables/proxier.go); what it leaves
alone is judged by the filter table, which therefore sees only packets that no DNAT has touched.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import NamedTuple

from ...ir.model import Disposition, Policy, PoolKind, Verdict

__all__ = ["ALL", "Condition", "Judgement", "Nat", "Step", "judgements", "nat", "host_judgements"]


class Condition(NamedTuple):
    """None: either way."""

    pods: bool | None = None
    host: bool | None = None


ALL = Condition()


class Step(NamedTuple):
    """In nat: under `condition` set the masquerade mark (`mark`), go to `pool`, or leave (neither)."""

    condition: Condition
    mark: bool = False
    pool: PoolKind | None = None


class Nat(NamedTuple):
    """`steps`, then everyone who is still here goes to pool `final` (None: leaves)."""

    steps: tuple[Step, ...]
    final: PoolKind | None


class Judgement(NamedTuple):
    """In filter: under `condition` a packet that no DNAT touched gets `verdict` (PASS: nothing)."""

    condition: Condition
    verdict: Verdict


class _Any(enum.Enum):
    ANY = "any"  # the class never gets here, so any verdict is right


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
    """What INPUT and FORWARD do with a packet that nat left alone.

    At a VIP the node's own packet may PASS where others may not (kube-proxy's iptables mode looks at external
    addresses here only): that is settled by keeping the rule out of OUTPUT, so the host's PASS asks for
    nothing here. To a NodePort the node's packet comes in by loopback, so here is the place.
    """
    host = _Any.ANY if policy.host.verdict is Verdict.PASS and not is_node_port else _left(policy.host)
    pods = [(Condition(pods=True), _left(policy.pods))] if has_pods else []
    return _fold([*pods, (Condition(host=True), host), (ALL, _left(policy.others))])


@lru_cache(maxsize=256)
def host_judgements(policy: Policy) -> tuple[Judgement, ...]:
    """What OUTPUT does, where every source is the node."""
    return _fold([(ALL, _left(policy.host))])


def _left(d: Disposition) -> Verdict | _Any:
    return _Any.ANY if d.verdict is Verdict.DNAT else d.verdict


def _fold(classes: list[tuple[Condition, Verdict | _Any]]) -> tuple[Judgement, ...]:
    """The shortest first-match list for the classes that do get here."""
    known = [(condition, verdict) for condition, verdict in classes if isinstance(verdict, Verdict)]
    if not known:
        return ()
    *others, (_, last) = known
    while others and others[-1][1] is last:
        others.pop()
    return (*(Judgement(condition, verdict) for condition, verdict in others), Judgement(ALL, last))
