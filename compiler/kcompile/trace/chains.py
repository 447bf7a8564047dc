"""Base chains in the order in which the kernel runs them, and the walk through one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec

from .outcome import ONE, Action, Branch, Do, Rule, Step
from .packet import Host, Packet

__all__ = ["BaseChain", "Chains", "Passage", "pass_through"]

_MOST_JUMPS = 16  # NFT_JUMP_STACK_SIZE; iptables' limit is not lower
_MOST_BRANCHES = 100_000
_ENDS = frozenset((Do.ACCEPT, Do.DROP, Do.REJECT, Do.SEND, Do.SENT, Do.UNKNOWN))

Chains = Mapping[str, Sequence[Rule]]
"""The chains that rules may jump to, by name."""


class BaseChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain that a hook calls.

    `name` is for people: family, table and chain. `hook`: prerouting, input, forward, output or postrouting;
    for eBPF connect, ingress or egress. `nat`: of type nat, which only the first packet of a connection
    meets. `versions`: 4, 6 or both.
    """

    name: str
    hook: str
    priority: int
    rules: Sequence[Rule]
    chains: Chains
    nat: bool = False
    policy: Do = Do.ACCEPT
    versions: frozenset[int] = frozenset((4, 6))


class Passage(msgspec.Struct, frozen=True):
    """One way through a base chain, and what ends it: ACCEPT, DROP, REJECT, SEND, SENT or UNKNOWN."""

    packet: Packet
    verdict: Action
    weight: Fraction
    steps: tuple[Step, ...]


class _Place(msgspec.Struct, frozen=True):
    """Where a walk stands: the chains that it came through, each with its next rule; the last one runs."""

    packet: Packet
    stack: tuple[tuple[str, int], ...]
    weight: Fraction
    steps: tuple[Step, ...]


def pass_through(base: BaseChain, packet: Packet, host: Host) -> list[Passage]:
    """All ways of `packet` through `base`; their weights add up to 1."""
    ways: list[Passage] = []
    pending = [_Place(packet, (("", 0),), ONE, ())]
    while pending:
        place = pending.pop()
        if len(ways) + len(pending) > _MOST_BRANCHES:
            verdict = Action(Do.UNKNOWN, "more branches than can be followed")
            return [*ways, *(Passage(p.packet, verdict, p.weight, p.steps) for p in (place, *pending))]
        _advance(base, place, host, pending, ways)
    return ways


def _advance(base: BaseChain, place: _Place, host: Host, pending: list[_Place], ways: list[Passage]) -> None:
    """Follow `place` up to its end, or to a rule that branches."""
    while place.stack:
        name, at = place.stack[-1]
        rules = base.rules if not name else base.chains[name]
        if at >= len(rules):
            place = _Place(place.packet, place.stack[:-1], place.weight, place.steps)
            continue
        branches = rules[at].run(place.packet, host)
        if len(branches) > 1:
            pending += [
                found
                for branch in branches
                if (found := _after(base, place, rules[at], branch, ways)) is not None
            ]
            return
        after = _after(base, place, rules[at], branches[0], ways)
        if after is None:
            return
        place = after
    policy = base.policy
    steps = place.steps if policy is Do.ACCEPT else (*place.steps, Step(base.name, f"policy {policy.value}"))
    ways.append(Passage(place.packet, Action(policy), place.weight, steps))


def _after(base: BaseChain, place: _Place, rule: Rule, branch: Branch, ways: list[Passage]) -> _Place | None:
    """Where the walk stands after `branch` of `rule`; None where it has ended (then it is in `ways`)."""
    name, at = place.stack[-1]
    weight = place.weight * branch.weight
    below, steps = place.stack[:-1], place.steps
    if branch.matched:
        steps = (*steps, Step(_chain_name(base, name), rule.text))
    action = branch.action
    if action.what in _ENDS:
        ways.append(Passage(branch.packet, action, weight, steps))
        return None
    match action.what:
        case Do.NEXT:
            stack = (*below, (name, at + 1))
        case Do.RETURN:
            stack = below
        case _:
            if action.detail not in base.chains or len(place.stack) > _MOST_JUMPS:
                problem = Action(Do.UNKNOWN, f"chain {action.detail} doesn't exist, or is nested too deep")
                ways.append(Passage(branch.packet, problem, weight, steps))
                return None
            kept = below if action.what is Do.GOTO else (*below, (name, at + 1))
            stack = (*kept, (action.detail, 0))
    return _Place(branch.packet, stack, weight, steps)


def _chain_name(base: BaseChain, name: str) -> str:
    return base.name if not name else f"{base.name.rpartition(' ')[0]} {name}"
