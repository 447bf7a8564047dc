"""The value of an expression for a packet, in all ways of chance (nft(8), EXPRESSIONS)."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from ..outcome import ONE
from ..packet import Host, Packet
from .values import Contents, Unknown, constant

__all__ = ["Lookups", "Weighted", "contents_of", "evaluate"]

Lookups = Callable[[str], Contents]
"""The set or map of a name; raises Unknown."""

Weighted = list[tuple[Fraction, Any]]
"""Values with their probabilities. None is a value that the packet doesn't have: nothing matches it."""

_BITWISE = {"|": operator.or_, "&": operator.and_, "^": operator.xor}


def evaluate(expression: Any, packet: Packet, host: Host, lookups: Lookups) -> Weighted:
    """All values that `expression` may have, each with its probability.

    :raises Unknown: for an expression that the model doesn't have
    """
    if not isinstance(expression, Mapping):
        return [(ONE, constant(expression))]
    ((kind, body),) = expression.items()
    match kind:
        case "payload":
            return [(ONE, _payload(body, packet))]
        case "meta":
            return [(ONE, _meta(body["key"], packet))]
        case "ct":
            return [(ONE, _ct(body["key"], packet))]
        case "fib":
            return [(ONE, _fib(body, packet, host))]
        case "numgen":
            return _numgen(body)
        case "concat":
            return _concat(body, packet, host, lookups)
        case "map":
            return _map(body, packet, host, lookups)
        case "|" | "&" | "^":
            return _bitwise(_BITWISE[kind], body, packet, host, lookups)
    raise Unknown(f"the expression {kind}")


def _payload(body: Mapping[str, Any], packet: Packet) -> Any:
    match body.get("protocol"), body.get("field"):
        case ("ip", "saddr" | "daddr" | "protocol" as field) if packet.version == 4:
            return _network(field, packet)
        case ("ip6", "saddr" | "daddr" | "nexthdr" as field) if packet.version == 6:
            return _network(field, packet)
        case ("ip" | "ip6", "saddr" | "daddr" | "protocol" | "nexthdr"):
            return None
        case ("tcp" | "udp" | "sctp" | "th" as protocol, "sport" | "dport" as field):
            if packet.protocol not in ("tcp", "udp", "sctp") or protocol not in ("th", packet.protocol):
                return None
            return packet.port if field == "dport" else packet.source_port
    raise Unknown(f"{body.get('protocol')} {body.get('field')} of the packet")


def _network(field: str, packet: Packet) -> str:
    return {"saddr": packet.source, "daddr": packet.destination}.get(field, packet.protocol)


def _meta(key: str, packet: Packet) -> Any:
    match key:
        case "l4proto":
            return packet.protocol
        case "mark":
            return packet.mark
        case "iifname" | "iif":
            return packet.iif  # "" without an interface (nft_meta_store_ifname())
        case "oifname" | "oif":
            return packet.oif
        case "nfproto":
            return f"ipv{packet.version}"
        case "protocol":
            return "ip" if packet.version == 4 else "ip6"
    raise Unknown(f"meta {key}")


def _ct(key: str, packet: Packet) -> Any:
    match key:
        case "state":
            return frozenset((packet.state.value,))
        case "status":
            pairs = (("dnat", packet.dnat), ("snat", packet.snat))
            return frozenset(name for name, is_set in pairs if is_set)
        case "direction":
            return "original"
    raise Unknown(f"ct {key}")


def _fib(body: Mapping[str, Any], packet: Packet, host: Host) -> Any:
    flags = body["flags"]
    flags = [flags] if isinstance(flags, str) else flags
    if body["result"] != "type" or not {"saddr", "daddr"} & set(flags):
        raise Unknown(f"fib {' . '.join(flags)} {body['result']}")
    address = packet.source if "saddr" in flags else packet.destination
    return "local" if host.is_local(address) else "unicast"


def _numgen(body: Mapping[str, Any]) -> Weighted:
    """Each number is as likely: also one that counts up, for a packet of which no more is known."""
    count, offset = body["mod"], body.get("offset", 0)
    return [(Fraction(1, count), number + offset) for number in range(count)]


def _concat(parts: list[Any], packet: Packet, host: Host, lookups: Lookups) -> Weighted:
    found: Weighted = [(ONE, ())]
    for part in parts:
        values = evaluate(part, packet, host, lookups)
        found = [_joined(left, right) for left in found for right in values]
    return found


def _joined(left: tuple[Fraction, Any], right: tuple[Fraction, Any]) -> tuple[Fraction, Any]:
    whole = None if left[1] is None or right[1] is None else (*left[1], right[1])
    return left[0] * right[0], whole


def _map(body: Mapping[str, Any], packet: Packet, host: Host, lookups: Lookups) -> Weighted:
    contents = contents_of(body["data"], lookups, is_map=True)
    return [
        (weight, None if data is None else constant(data))
        for weight, value in evaluate(body["key"], packet, host, lookups)
        for data in (contents.get(value),)
    ]


def contents_of(data: Any, lookups: Lookups, *, is_map: bool) -> Contents:
    """The set or map that `data` names or lists.

    :raises Unknown: for a name that isn't there
    """
    if isinstance(data, str) and data.startswith("@"):
        return lookups(data[1:])
    if isinstance(data, Mapping) and "set" in data:
        return Contents(data["set"], is_map=is_map)
    raise Unknown(f"the set {data}")


def _bitwise(
    apply: Callable[[int, int], int], sides: list[Any], packet: Packet, host: Host, lookups: Lookups
) -> Weighted:
    left, right = (evaluate(side, packet, host, lookups) for side in sides)
    if len(left) != 1 or len(right) != 1:
        raise Unknown("a random number in an operation of bits")
    if isinstance(left[0][1], frozenset):
        return [(ONE, left[0][1] & frozenset((right[0][1],)))]
    if left[0][1] is None or right[0][1] is None:
        return [(ONE, None)]
    return [(ONE, apply(left[0][1], right[0][1]))]
