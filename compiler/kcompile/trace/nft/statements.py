"""A rule of nftables: its statements, one after the other (nft(8), STATEMENTS; libnftables-json(5))."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ..outcome import ONE, Action, Branch, Do, on
from ..packet import Host, Packet
from .expressions import Lookups, contents_of, evaluate
from .values import Unknown, matcher

__all__ = ["NftRule"]

_VERDICTS = {
    "accept": Action(Do.ACCEPT),
    "drop": Action(Do.DROP),
    "reject": Action(Do.REJECT),
    "return": Action(Do.RETURN),
    "continue": on,
}
_SILENT = frozenset(("counter", "log", "comment"))


class _Now(NamedTuple):
    """A packet within a rule, with the probability that it is as it is."""

    packet: Packet
    weight: Fraction


class NftRule:
    """One rule. `statements` are libnftables-json's; `text` is what is shown of it."""

    def __init__(self, statements: Sequence[Any], text: str, lookups: Lookups) -> None:
        self.text = text
        self._statements, self._lookups = statements, lookups

    def run(self, packet: Packet, host: Host) -> list[Branch]:
        """All ways that the rule may go for `packet`."""
        going, ended = [_Now(packet, ONE)], list[Branch]()
        for statement in self._statements:
            if not going:
                break
            try:
                going = [after for now in going for after in self._one(statement, now, host, ended)]
            except Unknown as unknown:
                problem = Action(Do.UNKNOWN, f"{unknown} in the rule: {self.text}")
                return [Branch(packet, problem)]
        return [*ended, *(Branch(now.packet, on, now.weight) for now in going)]

    def _one(self, statement: Any, now: _Now, host: Host, ended: list[Branch]) -> list[_Now]:
        """What goes on after one statement; what has ended is added to `ended`.

        :raises Unknown: for a statement that the model doesn't have
        """
        kind, body = _parts(statement)
        if kind in _SILENT:
            return [now]
        if kind in _VERDICTS:
            ended.append(Branch(now.packet, _VERDICTS[kind], now.weight))
            return []
        match kind:
            case "jump" | "goto":
                ended.append(Branch(now.packet, Action(Do(kind), body["target"]), now.weight))
                return []
            case "match":
                return self._match(body, now, host, ended)
            case "vmap":
                return self._vmap(body, now, host, ended)
            case "mangle":
                return self._mangle(body, now, host)
            case "dnat":
                self._dnat(body, now, host, ended)
                return []
            case "masquerade" | "snat":
                packet = now.packet.changed(snat=True, masqueraded=True)
                ended.append(Branch(packet, Action(Do.ACCEPT), now.weight))
                return []
            case "set" | "map":  # update @clients { ip saddr }: of no effect on this packet
                return [now]
        raise Unknown(f"the statement {kind}")

    def _match(self, body: Mapping[str, Any], now: _Now, host: Host, ended: list[Branch]) -> list[_Now]:
        going = []
        for weight, value in evaluate(body["left"], now.packet, host, self._lookups):
            after = _Now(now.packet, now.weight * weight)
            if self._holds(body.get("op", "=="), value, body["right"]):
                going.append(after)
            else:
                ended.append(Branch(now.packet, on, after.weight, matched=False))
        return going

    def _holds(self, op: str, value: Any, right: Any) -> bool:
        if value is None:
            return False
        if isinstance(value, frozenset):
            return _flags_hold(op, value, right)
        if isinstance(right, str) and right.startswith("@"):
            inside = value in self._lookups(right[1:])
        elif op in ("==", "!=", "in"):
            inside = matcher(right)(value)
        else:
            raise Unknown(f"the operator {op}")
        return not inside if op == "!=" else inside

    def _vmap(self, body: Mapping[str, Any], now: _Now, host: Host, ended: list[Branch]) -> list[_Now]:
        contents = contents_of(body["data"], self._lookups, is_map=True)
        going = []
        for weight, value in evaluate(body["key"], now.packet, host, self._lookups):
            verdict = None if value is None else contents.get(value)
            action = on if verdict is None else _verdict(verdict)
            if verdict is not None and action is on:
                going.append(_Now(now.packet, now.weight * weight))
            else:
                found = verdict is not None
                ended.append(Branch(now.packet, action, now.weight * weight, matched=found))
        return going

    def _mangle(self, body: Mapping[str, Any], now: _Now, host: Host) -> list[_Now]:
        if body["key"] != {"meta": {"key": "mark"}}:
            if "ct" in body["key"]:
                return [now]
            raise Unknown(f"a change of {body['key']}")
        values = evaluate(body["value"], now.packet, host, self._lookups)
        return [_Now(now.packet.changed(mark=value), now.weight * weight) for weight, value in values]

    def _dnat(self, body: Mapping[str, Any], now: _Now, host: Host, ended: list[Branch]) -> None:
        for weight, value in evaluate(body["addr"], now.packet, host, self._lookups):
            if value is None:  # the map has no such element: the expression ends the rule
                ended.append(Branch(now.packet, on, now.weight * weight, matched=False))
                continue
            address, port = value if isinstance(value, tuple) else (value, body.get("port"))
            packet = now.packet.changed(destination=address, dnat=True)
            if port is not None:
                packet = packet.changed(port=port)
            ended.append(Branch(packet, Action(Do.ACCEPT), now.weight * weight))


def _parts(statement: Any) -> tuple[str, Any]:
    """The kind of a statement, and what it says; nothing for one that is a word alone."""
    if isinstance(statement, str):
        return statement, None
    ((kind, body),) = statement.items()
    return str(kind), body


def _flags_hold(op: str, flags: frozenset[str], right: Any) -> bool:
    """A match on ct state or ct status: words, one or a set of them; any of them will do.

    ``ct status & dnat != dnat`` compares what is left of the flags.
    """
    if isinstance(right, Mapping) and "set" in right:
        wanted = frozenset(right["set"])
    elif isinstance(right, list):
        wanted = frozenset(right)
    elif isinstance(right, str):
        wanted = frozenset((right,))
    elif right == 0:
        return (not flags) if op == "==" else bool(flags)
    else:
        raise Unknown(f"the flags {right}")
    has = bool(flags & wanted)
    return not has if op == "!=" else has


def _verdict(verdict: Any) -> Action:
    """The action of a verdict map's data. Raises Unknown."""
    if isinstance(verdict, Mapping):
        ((kind, body),) = verdict.items()
        if kind in ("jump", "goto"):
            return Action(Do(kind), body["target"])
        if kind in _VERDICTS:
            return _VERDICTS[kind]
        verdict = kind
    raise Unknown(f"the verdict {verdict}")
